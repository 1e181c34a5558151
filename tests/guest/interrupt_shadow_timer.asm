; STI; CLI again and again under a timer that interrupts at any moment: the shadow of STI lets none in between the two, also
; where something else than the guest's own interrupts ends its run there. SDM vol. 2B STI.
; expect: pass
%include "long.inc"
%include "apic.inc"

kTurns equ 20
kPairs equ 100000

main:
  call apic_enable
  SET_GATE 0x53, on_timer, 0, 0x8e
  APIC_WRITE APIC_TIMER_DIVIDE, 0x0b  ; by 1
  APIC_WRITE APIC_LVT_TIMER, 0x20053  ; periodic
  APIC_WRITE APIC_TIMER_INITIAL, 300000
  mov rbx, kTurns
.turn:
  mov ebp, kPairs
.pair:
  sti
  cli
  dec ebp
  jnz .pair
  CHECK_EQ [between], 0
  ; Here one may come, of those that have waited.
  sti
  nop
  nop
  cli
  dec rbx
  jnz .turn
  ; It is seen that there were such.
.wait:
  sti
  nop
  nop
  cli
  cmp qword [elsewhere], 0
  je .wait
  CHECK_EQ [between], 0
  APIC_WRITE APIC_LVT_TIMER, 0x10053
  ret

on_timer:
  push rax
  mov rax, [rsp + 8]
  cmp byte [rax], 0xfa          ; at a CLI that stands behind an STI
  jne .elsewhere
  cmp byte [rax - 1], 0xfb
  jne .elsewhere
  inc qword [between]
  jmp .end
.elsewhere:
  inc qword [elsewhere]
.end:
  call apic_eoi
  pop rax
  iretq

section .bss
alignb 8
between: resq 1
elsewhere: resq 1
