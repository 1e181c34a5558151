; Alignment checks: #AC with error code 0 in ring 3 with CR0.AM and RFLAGS.AC set, and in no other case; whole words at
; natural alignment, 16 bytes faulting as #GP where the instruction asks for alignment itself. SDM vol. 3A §6.15.
; expect: pass
%include "long.inc"

%macro USER_CASE 1-2 FL_AC ; label of ring-3 code, and the flags it runs with
  TRY
  push %2 | 2
  popfq
  ENTER_USER %1
%endmacro

main:
  mov rax, cr0
  or eax, CR0_AM
  mov cr0, rax
  pushfq
  or qword [rsp], FL_AC
  popfq
  mov eax, [gdt + 1]            ; ring 0 is not checked
  USER_CASE misaligned
  CATCH AC, 0
  mov rax, [trap.rflags]
  and eax, FL_AC | FL_RF
  CHECK_EQ rax, FL_AC | FL_RF  ; RF: a fault, restartable
  USER_CASE misaligned_word
  CATCH AC, 0
  USER_CASE misaligned_write
  CATCH AC, 0
  USER_CASE misaligned_push
  CATCH AC, 0
  USER_CASE aligned
  CATCH GP, 0
  USER_CASE misaligned_then_hlt, 0
  CATCH GP, 0
  mov rax, cr0
  and eax, ~CR0_AM
  mov cr0, rax
  USER_CASE misaligned_then_hlt ; AM clear
  CATCH GP, 0
  ret

misaligned:
  mov rax, USER(data)
  mov ecx, [rax + 2]
  ud2
misaligned_word:
  mov rax, USER(data)
  mov cx, [rax + 1]
  ud2
misaligned_write:
  mov rax, USER(data)
  mov [rax + 4], rax
  ud2
misaligned_push:
  sub rsp, 4
  push rax
  ud2
aligned:
  mov rax, USER(data)
  mov ecx, [rax + 4]
  mov cl, [rax + 1]
  mov cx, [rax + 2]
  hlt
misaligned_then_hlt:
  mov rax, USER(data)
  mov ecx, [rax + 2]
  hlt

section .data
align 16
data: times 32 db 0
