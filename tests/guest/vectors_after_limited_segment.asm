; Vector state across a reference through an FS with a limit, in 32-bit code.
; expect: pass
%include "protected.inc"
main:
  mov eax, cr4
  or eax, 0x600
  mov cr4, eax
  mov eax, cr0
  and eax, ~0xc
  or eax, 2
  mov cr0, eax
  SET_DESCRIPTOR 0x58, 0x300000, 0xff, 0x4093
  mov eax, 0x58
  mov fs, eax
  mov eax, 1
  movd xmm1, eax
  pxor xmm0, xmm0
  mov esi, 5000
.a:
  paddd xmm0, xmm1
  mov eax, [fs:0]
  jmp .b
  ud2
.b:
  paddd xmm0, xmm1
  dec esi
  jnz .a
  movd eax, xmm0
  CHECK_EQ eax, 10000
  ret
