; SIMD floating-point exceptions: #XM for unmasked ones if CR4.OSXMMEXCPT is set, #UD if not; MXCSR keeps the flags; the
; destination is unchanged. SDM vol. 1 §11.5, vol. 3A §6.15.
; expect: pass
%include "long.inc"

main:
  mov dword [mxcsr], 0x1d80     ; zero-divide unmasked
  ldmxcsr [mxcsr]
  TRY
  movss xmm0, [one]
  xorps xmm1, xmm1
.divide: divss xmm0, xmm1
  CATCH XM, 0
  mov rax, main.divide
  CHECK_EQ [trap.rip], rax
  movd eax, xmm0
  CHECK_EQ rax, 0x3f800000
  stmxcsr [mxcsr]
  mov eax, [mxcsr]
  CHECK_EQ rax, 0x1d84
  ; A masked one sets its flag and no more.
  mov dword [mxcsr], 0x1f80
  ldmxcsr [mxcsr]
  divss xmm0, xmm1
  movd eax, xmm0
  CHECK_EQ rax, 0x7f800000
  stmxcsr [mxcsr]
  mov eax, [mxcsr]
  CHECK_EQ rax, 0x1f84
  ; Without OSXMMEXCPT it is an invalid opcode.
  mov rax, cr4
  and eax, ~CR4_OSXMMEXCPT
  mov cr4, rax
  mov dword [mxcsr], 0x1d80
  ldmxcsr [mxcsr]
  TRY
  movss xmm0, [one]
  divss xmm0, xmm1
  CATCH UD, 0
  ; Reserved bits of MXCSR.
  TRY
  mov dword [mxcsr], 0x10000
  ldmxcsr [mxcsr]
  CATCH GP, 0
  stmxcsr [mxcsr]
  mov eax, [mxcsr]
  CHECK_EQ rax, 0x1d84
  ret

section .data
one: dd 1.0
section .bss
mxcsr: resd 1
