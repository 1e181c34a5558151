; The instruction after an STI that sets IF is protected from interrupts, though not from faults; a second STI, POPF and
; IRET protect nothing. HLT after STI does not lose the interrupt. CR8 holds off what is not above it. SDM vol. 2B STI,
; vol. 3A §6.8, §11.8.
; expect: pass
%include "long.inc"
%include "apic.inc"

%macro COUNT_NOW 1 ; the interrupt must have come between the two
  CHECK_EQ [count], %1
%endmacro

main:
  call apic_enable
  SET_GATE 0x50, on_interrupt, 0, 0x8e
  ; Pending while IF is 0: taken after the instruction behind STI.
  mov qword [count], 0
  call apic_send_self
  CHECK_EQ [count], 0
  sti
  inc qword [before]            ; still protected
.taken:
  nop
  cli
  COUNT_NOW 1
  CHECK_EQ [before], 1
  mov rax, .taken
  CHECK_EQ [where], rax
  ; STI; CLI never lets it in.
  call apic_send_self
  sti
  cli
  COUNT_NOW 1
  ; A second STI does not make another shadow.
  sti
  sti
.after_second:
  nop
  cli
  COUNT_NOW 2
  mov rax, .after_second
  CHECK_EQ [where], rax
  ; STI; HLT with the interrupt pending: HLT is run and left at once.
  call apic_send_self
  sti
  hlt
.after_hlt:
  cli
  COUNT_NOW 3
  mov rax, .after_hlt
  CHECK_EQ [where], rax
  ; POPF and IRET have no shadow.
  call apic_send_self
  push FL_IF | 2
  popfq
.after_popf:
  nop
  cli
  COUNT_NOW 4
  mov rax, .after_popf
  CHECK_EQ [where], rax
  ; A fault within the shadow is delivered; the interrupt comes after it.
  call apic_send_self
  TRY
  sti
  ud2
  CATCH UD, 0
  mov rax, [trap.rflags]
  and eax, FL_IF
  CHECK_EQ rax, FL_IF
  COUNT_NOW 4                   ; CATCH is at IF = 0
  sti
  nop
  cli
  COUNT_NOW 5
  ; CR8 holds off what is not above it.
  mov eax, 5
  mov cr8, rax
  call apic_send_self           ; vector 0x50: priority 5
  sti
  nop
  nop
  cli
  COUNT_NOW 5
  mov eax, 4
  mov cr8, rax
  sti
  nop
  nop
  cli
  COUNT_NOW 6
  xor eax, eax
  mov cr8, rax
  ret

on_interrupt:
  inc qword [count]
  push rax
  mov rax, [rsp + 8]
  mov [where], rax
  call apic_eoi
  pop rax
  iretq

section .bss
alignb 8
count: resq 1
before: resq 1
where: resq 1
