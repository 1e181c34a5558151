; Far transfers in 64-bit mode: call gates of 16 bytes from ring 3 to ring 0 and back by RETF, what they push, the stack
; of the TSS, DPL and type faults with their error codes; far jumps and returns between 64-bit and compatibility code.
; SDM vol. 3A §5.8.3, §5.8.5, vol. 2A CALL.
; expect: pass
%include "long.inc"

kGate equ kFirstFree            ; two slots

%macro SET_CALL_GATE 3 ; target, code selector, attributes (0xec: present, DPL 3, type 12)
  mov rax, %1
  mov [gdt + kGate], ax
  mov word [gdt + kGate + 2], %2
  mov byte [gdt + kGate + 4], 0
  mov byte [gdt + kGate + 5], %3
  shr rax, 16
  mov [gdt + kGate + 6], ax
  shr rax, 16
  mov [gdt + kGate + 8], rax
%endmacro

main:
  ; In ring 0 through a gate: no change of stack.
  SET_CALL_GATE here_and_back, kCode64, 0xec
  mov rbx, rsp
  call far dword [gate_pointer]
  CHECK_EQ rsp, rbx
  CHECK_EQ [seen_cs], kCode64
  lea rax, [rbx - 16]
  CHECK_EQ [seen_rsp], rax
  ; From ring 3.
  SET_CALL_GATE from_user, kCode64, 0xec
  mov qword [seen_cs], 0
  TRY
  ENTER_USER user_call
  CATCH UD, 0                   ; ring 3 comes back from the gate and says so
  CHECK_EQ [trap.cs], kUser64
  CHECK_EQ [seen_cs], kCode64
  CHECK_EQ [seen_ss], 0
  CHECK_EQ [seen_rsp], stack0_top - 32
  CHECK_EQ [seen_frame], USER(user_call.after)
  CHECK_EQ [seen_frame + 8], kUser64
  CHECK_EQ [seen_frame + 16], [user_rsp]
  CHECK_EQ [seen_frame + 24], kUserData
  CHECK_EQ [trap.old_rsp], [user_rsp]
  ; DPL 0: not for ring 3.
  SET_CALL_GATE from_user, kCode64, 0x8c
  TRY
  ENTER_USER user_call
  CATCH GP, kGate
  ; Not present.
  SET_CALL_GATE from_user, kCode64, 0x6c
  TRY
  ENTER_USER user_call
  CATCH NP, kGate
  ; A 16-bit or 32-bit gate's type, a task gate, an available TSS.
  SET_CALL_GATE from_user, kCode64, 0xe4
  TRY
  call far dword [gate_pointer]
  CATCH GP, kGate
  SET_CALL_GATE from_user, kCode64, 0xe5
  TRY
  call far dword [gate_pointer]
  CATCH GP, kGate
  ; The gate's code segment is not 64-bit, is null, is data.
  SET_CALL_GATE from_user, kCode32, 0xec
  TRY
  call far dword [gate_pointer]
  CATCH GP, kCode32
  SET_CALL_GATE from_user, 0, 0xec
  TRY
  call far dword [gate_pointer]
  CATCH GP, 0
  SET_CALL_GATE from_user, kData, 0xec
  TRY
  call far dword [gate_pointer]
  CATCH GP, kData
  ; A non-canonical target.
  SET_CALL_GATE from_user, kCode64, 0xec
  mov dword [gdt + kGate + 8], 0x8000
  TRY
  call far dword [gate_pointer]
  CATCH GP, 0
  ; The upper half's type must be 0.
  SET_CALL_GATE from_user, kCode64, 0xec
  mov byte [gdt + kGate + 13], 0x0c
  TRY
  call far dword [gate_pointer]
  CATCH GP, kGate
  mov byte [gdt + kGate + 13], 0
  ; Ring 0's stack is not canonical: #SS with error code 0 ... of the new stack segment, which is null.
  mov rax, 0x800000001000
  mov [tss + 4], rax
  SET_GATE SS_, stubs + SS_ * kStubSize, 1, 0x8e
  TRY
  ENTER_USER user_call
  CATCH SS_, 0
  mov qword [tss + 4], stack0_top

  ; Far jump to compatibility mode, and back by RETF; the upper halves of registers are no part of it.
  jmp far dword [to_compat]
from_compat:
  CHECK_EQ rbx, 0x87654321
  ; RETF to an outer ring with 16 bytes of parameters.
  TRY
  push kUserData
  push qword [user_rsp]
  sub rsp, 16
  push kUser64
  mov rax, USER(user_ud)
  push rax
  o64 retf 16
  CATCH UD, 0
  mov rax, [user_rsp]
  add rax, 16
  CHECK_EQ [trap.old_rsp], rax
  ; RETF to an inner ring.
  TRY
  ENTER_USER user_retf
  CATCH GP, kCode64
  ret

here_and_back:
  mov [seen_rsp], rsp
  mov rax, cs
  mov [seen_cs], rax
  o64 retf

from_user:
  mov [seen_rsp], rsp
  mov rax, cs
  mov [seen_cs], rax
  mov rax, ss
  and eax, ~3
  mov [seen_ss], rax
  mov rsi, rsp
  mov rdi, seen_frame
  mov ecx, 4
  cld
  rep movsq
  o64 retf

user_call:
  mov rax, USER(gate_pointer)
  call far dword [rax]
.after:
  ud2
user_ud:
  ud2
user_retf:
  push kCode64
  push 0x1234
  o64 retf

bits 32
compat:
  mov ebx, 0x87654321
  push kCode64
  push from_compat
  retf
bits 64

section .data
gate_pointer:
  dd 0x12345678                 ; ignored
  dw kGate | 3
to_compat:
  dd compat
  dw kCode32

section .bss
alignb 8
seen_cs: resq 1
seen_ss: resq 1
seen_rsp: resq 1
seen_frame: resq 4
