; An instruction over the end of its page, followed by different pages at two linear addresses, thousands of changes of
; other code later: the first still runs.
; expect: pass
%include "long.inc"
kP equ 0x300000
kS1 equ 0x301000
kS2 equ 0x302000
kQ equ 0x303000
main:
  mov byte [kP+0xfff], 0x0f
  mov word [kS1], 0xc3a2    ; cpuid; ret
  mov word [kS2], 0xc331    ; rdtsc; ret
  mov byte [kQ], 0xb8
  mov byte [kQ+5], 0xc3
  mov qword [window_pt + 8*256], kP+3
  mov qword [window_pt + 8*257], kS1+3
  mov qword [window_pt + 8*258], kP+3
  mov qword [window_pt + 8*259], kS2+3
  mov r12, PAGE(0)+0xfff
  mov r13, PAGE(2)+0xfff
  xor eax, eax
  cpuid
  mov r10, rbx
  mov ebp, 60
.warm:
  xor eax, eax
  xor ecx, ecx
  call r12
  CHECK_EQ rbx, r10
  dec ebp
  jnz .warm
  mov ebp, 3
.other:
  call r13
  dec ebp
  jnz .other
  mov ebp, 9000
  mov edi, kQ
.churn:
  mov [rdi+1], ebp
  call rdi
  dec ebp
  jnz .churn
  mov ebp, 50
.check:
  xor eax, eax
  xor ecx, ecx
  xor ebx, ebx
  call r12
  CHECK_EQ rbx, r10
  dec ebp
  jnz .check
  ret
