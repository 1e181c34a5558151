; LOCK is an invalid opcode except before the memory forms of a few instructions (SDM vol. 2A, LOCK).
; expect: pass
%include "long.inc"

%macro INVALID 1+
  TRY
  db 0xf0, %1
  CATCH_AT __?LINE?__, UD, 0
%endmacro

main:
  mov rdi, kScratch
  INVALID 0x90                  ; nop
  INVALID 0x01, 0xc0            ; add eax, eax
  INVALID 0x8b, 0x07            ; mov eax, [rdi]
  INVALID 0x89, 0x07            ; mov [rdi], eax
  INVALID 0x03, 0x07            ; add eax, [rdi]
  INVALID 0x39, 0x07            ; cmp [rdi], eax
  INVALID 0x83, 0x3f, 0x00      ; cmp dword [rdi], 0
  INVALID 0x85, 0x07            ; test [rdi], eax
  INVALID 0xd1, 0x27            ; shl dword [rdi], 1
  INVALID 0xf7, 0x27            ; mul dword [rdi]
  INVALID 0x0f, 0xa3, 0x07      ; bt [rdi], eax
  INVALID 0x0f, 0xab, 0xc0      ; bts eax, eax
  INVALID 0x0f, 0xb1, 0xc0      ; cmpxchg eax, eax
  INVALID 0x87, 0xc0            ; xchg eax, eax
  INVALID 0xff, 0x37            ; push qword [rdi]
  INVALID 0x0f, 0x6f, 0x07      ; movq mm0, [rdi]
  INVALID 0x0f, 0x20, 0xc3      ; mov rbx, cr0
  INVALID 0xe8, 0, 0, 0, 0      ; call
  INVALID 0xf3, 0xa4            ; rep movsb
  ; And where it is allowed, it is no obstacle.
  mov qword [rdi], 5
  mov qword [rdi + 8], 7
  mov eax, 1
  lock add [rdi], eax
  lock or dword [rdi], 8
  lock inc qword [rdi]
  lock xadd [rdi], rax
  CHECK_EQ rax, 15
  CHECK_EQ [rdi], 16
  lock bts dword [rdi], 0
  lock btr dword [rdi], 4
  lock not byte [rdi + 8]
  lock neg word [rdi + 8]
  mov rax, 1
  mov rdx, [rdi + 8]
  mov rbx, 3
  mov rcx, 4
  lock cmpxchg16b [rdi]
  setz al
  movzx eax, al
  CHECK_EQ rax, 1
  CHECK_EQ [rdi], 3
  CHECK_EQ [rdi + 8], 4
  lock xchg [rdi], rcx
  CHECK_EQ rcx, 3
  TRY
  lock cmpxchg16b [rdi + 8]     ; not on 16 bytes
  CATCH GP, 0
  ret
