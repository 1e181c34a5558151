; Non-maskable interrupts: through vector 2 whatever IF is; blocked from delivery until the next IRET, one kept pending;
; an exception's IRET inside the handler ends the blocking. HLT with IF = 0 is left by one. SDM vol. 3A §6.7.
; expect: pass
%include "long.inc"
%include "apic.inc"

; An NMI to oneself goes by the id.
%macro NMI_TO_SELF 0
  APIC_READ eax, APIC_ID
  APIC_WRITE APIC_ICR_HIGH, eax
  APIC_WRITE APIC_ICR, 0x4400
%endmacro
%macro SETTLE 0
  times 8 pause
%endmacro

main:
  call apic_enable
  SET_GATE NMI, on_nmi, 0, 0x8e
  mov qword [inside], 0
  NMI_TO_SELF
  SETTLE
  CHECK_EQ [nmis], 1
  ; Two more from inside the handler: they wait for its IRET, and are one.
  mov qword [inside], 1
  NMI_TO_SELF
  SETTLE
  CHECK_EQ [nmis], 3
  CHECK_EQ [deepest], 1
  ; With an IRET from an exception in the handler the next comes at once, inside.
  mov qword [nmis], 0
  mov qword [inside], 2
  SET_GATE BP_, on_breakpoint, 0, 0x8e
  NMI_TO_SELF
  SETTLE
  CHECK_EQ [nmis], 2
  CHECK_EQ [deepest], 2
  ret

on_nmi:
  push rax
  push r13
  inc qword [nmis]
  inc qword [depth]
  mov rax, [depth]
  cmp rax, [deepest]
  jbe .no_deeper
  mov [deepest], rax
.no_deeper:
  mov rax, [inside]
  mov qword [inside], 0
  cmp rax, 0
  je .leave
  cmp rax, 2
  je .with_breakpoint
  NMI_TO_SELF
  SETTLE
  NMI_TO_SELF
  SETTLE
  jmp .leave
.with_breakpoint:
  NMI_TO_SELF
  SETTLE
  int3
  SETTLE
.leave:
  dec qword [depth]
  pop r13
  pop rax
  iretq

on_breakpoint:
  iretq

section .bss
alignb 8
nmis: resq 1
inside: resq 1
depth: resq 1
deepest: resq 1
