; Faults in the delivery of an interrupt: which vector and which error code (index * 8, IDT bit 1, EXT bit 0) follow a
; bad gate. SDM vol. 3A §6.12, §6.13, and INT n's exceptions in vol. 2A.
; expect: pass
%include "long.inc"

%define IDT_ERROR(vector) ((vector) * 8 + 2)

main:
  ; INT n through good gates: the next instruction's address is saved, interrupts go off through an interrupt gate only.
  sti
  TRY
.int: int 0x21
  CATCH 0x21, 0
  mov rax, main.int + 2
  CHECK_EQ [trap.rip], rax
  mov rax, [trap.rflags]
  and eax, FL_IF
  CHECK_EQ rax, FL_IF
  sti                           ; CATCH left it off
  SET_GATE 0x22, count_with_flags, 0, 0x8f
  int 0x22
  and qword [flags], FL_IF
  CHECK_EQ [flags], FL_IF
  SET_GATE 0x22, count_with_flags, 0, 0x8e
  int 0x22
  and qword [flags], FL_IF
  CHECK_EQ [flags], 0
  cli

  SET_GATE 0x30, count_with_flags, 0, 0x0e ; not present
  TRY
  int 0x30
  CATCH NP, IDT_ERROR(0x30)
  SET_GATE 0x31, count_with_flags, 0, 0x85 ; a task gate: not in 64-bit mode
  TRY
  int 0x31
  CATCH GP, IDT_ERROR(0x31)
  SET_GATE 0x31, count_with_flags, 0, 0x86 ; a 16-bit gate
  TRY
  int 0x31
  CATCH GP, IDT_ERROR(0x31)
  SET_GATE 0x32, count_with_flags, 0, 0x8e
  mov word [idt + 0x32 * 16 + 2], 0        ; null code selector
  TRY
  int 0x32
  CATCH GP, 0
  mov word [idt + 0x32 * 16 + 2], kData    ; not code
  TRY
  int 0x32
  CATCH GP, kData
  mov word [idt + 0x32 * 16 + 2], kCode32  ; code, but not 64-bit
  TRY
  int 0x32
  CATCH GP, kCode32
  mov word [idt + 0x32 * 16 + 2], 0x800    ; beyond the GDT
  TRY
  int 0x32
  CATCH GP, 0x800
  mov word [idt + 0x32 * 16 + 2], kFirstFree
  mov rax, 0x00af1b000000ffff              ; 64-bit code that is not present
  mov [gdt + kFirstFree], rax
  TRY
  int 0x32
  CATCH NP, kFirstFree
  SET_GATE 0x33, count_with_flags, 0, 0x8e
  mov dword [idt + 0x33 * 16 + 8], 0x8000  ; the handler's address is not canonical
  TRY
  int 0x33
  CATCH GP, 0

  ; From ring 3: a gate's DPL counts for INT n, INT3 and INTO, not for exceptions.
  TRY
  ENTER_USER user_int
  CATCH GP, IDT_ERROR(0x34)
  SET_GATE 0x34, stubs + 0x34 * kStubSize, 0, 0xee
  TRY
  ENTER_USER user_int
  CATCH 0x34, 0
  CHECK_EQ [trap.cs], kUser64
  TRY
  ENTER_USER user_int3
  CATCH GP, IDT_ERROR(3)
  TRY
  ENTER_USER user_ud
  CATCH UD, 0

  ; An exception whose gate is bad: EXT is set in the second fault's error code.
  SET_GATE UD, count_with_flags, 0, 0x0e
  TRY
  ud2
  CATCH NP, IDT_ERROR(UD) | 1
  SET_GATE UD, stubs + UD * kStubSize, 0, 0x8e

  ; Beyond the limit.
  mov word [idt_pointer], 0x35 * 16 - 1
  lidt [idt_pointer]
  TRY
  int 0x35
  CATCH GP, IDT_ERROR(0x35)
  TRY
  int 0x34
  CATCH 0x34, 0
  mov word [idt_pointer], 0x35 * 16 + 14   ; the last byte is missing
  lidt [idt_pointer]
  TRY
  int 0x35
  CATCH GP, IDT_ERROR(0x35)
  mov word [idt_pointer], 256 * 16 - 1
  lidt [idt_pointer]
  ret

count_with_flags:
  pushfq
  pop qword [flags]
  iretq

user_int:
  int 0x34
  ud2
user_int3:
  int3
  ud2
user_ud:
  ud2

section .bss
alignb 8
flags: resq 1
