; Vector state across an instruction whose handler is only sometimes called: IDIV of a dividend that is no sign-extended
; half, last but for the jump. What comes after must find XMM0 as it was left.
; expect: pass
%include "long.inc"
main:
  mov rax, cr4
  or eax, 0x600
  mov cr4, rax
  mov rax, cr0
  and eax, ~0xc
  or eax, 2
  mov cr0, rax
  mov eax, 1
  movd xmm1, eax
  pxor xmm0, xmm0
  mov esi, 5000
  mov ebx, 16
.a:
  paddd xmm0, xmm1
  xor eax, eax
  mov edx, 1
  idiv rbx
  jmp .b
  ud2
.b:
  paddd xmm0, xmm1
  dec esi
  jnz .a
  movd eax, xmm0
  CHECK_EQ rax, 10000
  ret
