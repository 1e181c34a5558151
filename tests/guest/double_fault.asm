; Which pairs of exceptions make a double fault (SDM vol. 3A table 6-5): contributory after contributory, contributory
; or page fault after page fault; page fault after contributory and anything after a benign one are delivered in turn.
; The double fault's error code is 0.
; expect: pass
%include "long.inc"

%macro BREAK_GATE 1 ; its delivery then raises #NP, a contributory exception
  SET_GATE %1, 0, 0, 0x0e
%endmacro
%macro MEND_GATE 1
  SET_GATE %1, stubs + %1 * kStubSize, 0, 0x8e
%endmacro
; The delivery of vector %1 raises a page fault: its stack (IST 2) is not mapped.
%macro FAULT_STACK 1
  mov rax, PAGE(0) + 4096
  mov [tss + 0x2c], rax
  SET_GATE %1, stubs + %1 * kStubSize, 2, 0x8e
%endmacro
; The delivery of vector %1 raises #SS: the stack's address is not canonical.
%macro STACK_ERROR 1
  mov rax, 0x800000001000
  mov [tss + 0x2c], rax
  SET_GATE %1, stubs + %1 * kStubSize, 2, 0x8e
%endmacro

main:
  SET_GATE DF, stubs + DF * kStubSize, 1, 0x8e
  ; benign, then contributory: in turn
  BREAK_GATE UD
  TRY
  ud2
  CATCH NP, UD * 8 + 2 + 1
  MEND_GATE UD
  ; benign, then page fault: in turn
  FAULT_STACK UD
  TRY
  ud2
  mov rax, 0
  CATCH PF, PF_W
  MEND_GATE UD
  ; contributory, then contributory: double
  BREAK_GATE GP
  TRY
  mov rdx, 0x800000000000
  mov rax, [rdx]
  CATCH DF, 0
  MEND_GATE GP
  BREAK_GATE DE
  TRY
  xor ecx, ecx
  div ecx
  CATCH DF, 0
  MEND_GATE DE
  STACK_ERROR GP
  TRY
  mov rdx, 0x800000000000
  mov rax, [rdx]
  CATCH DF, 0
  MEND_GATE GP
  ; contributory, then page fault: in turn
  FAULT_STACK GP
  TRY
  mov rdx, 0x800000000000
  mov rax, [rdx]
  CATCH PF, PF_W
  MEND_GATE GP
  ; page fault, then contributory: double
  BREAK_GATE PF
  TRY
  mov rdx, 0x7fffff000000
  mov rax, [rdx]
  CATCH DF, 0
  CHECK_EQ [trap.cr2], 0x7fffff000000
  STACK_ERROR PF
  TRY
  mov rdx, 0x7fffff000000
  mov rax, [rdx]
  CATCH DF, 0
  ; page fault, then page fault: double; CR2 is the second's
  FAULT_STACK PF
  TRY
  mov rdx, 0x7fffff000000
  mov rax, [rdx]
  CATCH DF, 0
  mov rax, PAGE(0) + 4096 - 8
  CHECK_EQ [trap.cr2], rax
  MEND_GATE PF
  ; INT n is benign whatever its number.
  BREAK_GATE GP
  TRY
  int GP
  CATCH NP, GP * 8 + 2
  ret
