; XSAVE and its family: XGETBV and XSETBV's rules, the header's XSTATE_BV, what an init component does to the area,
; XSAVEOPT, the compacted form of XSAVEC, faults for reserved header bits, misalignment and closed components; AVX state
; through XRSTOR; #NM by CR0.TS; #UD without OSXSAVE. SDM vol. 1 chapter 13.
; expect: pass
%include "long.inc"

main:
  mov eax, 1
  xor ecx, ecx
  cpuid
  bt ecx, 26
  jc .have
  PASS                          ; a processor without XSAVE has nothing to show here
.have:
  bt ecx, 27                    ; OSXSAVE mirrors CR4
  jnc .mirrored
  FAIL
.mirrored:
  TRY
  xor ecx, ecx
  xgetbv
  CATCH UD, 0
  TRY
  mov eax, 3
  xor edx, edx
  xsave [area]
  CATCH UD, 0
  mov rax, cr4
  or eax, CR4_OSXSAVE
  mov cr4, rax
  mov eax, 1
  xor ecx, ecx
  cpuid
  bt ecx, 27
  jc .mirrored2
  FAIL
.mirrored2:
  xor ecx, ecx
  xgetbv
  CHECK_EQ rax, 1               ; x87 alone at first
  ; XSETBV: bit 0 must stay; AVX needs SSE; unknown bits and registers; ring 3.
  %macro REFUSED 2
    TRY
    mov ecx, %1
    mov eax, %2
    xor edx, edx
    xsetbv
    CATCH_AT __?LINE?__, GP, 0
  %endmacro
  REFUSED 0, 0
  REFUSED 0, 2
  REFUSED 0, 5
  REFUSED 1, 1
  REFUSED 0, 1 << 31 | 1
  TRY
  ENTER_USER user_xsetbv
  CATCH GP, 0
  xor ecx, ecx
  mov eax, 7
  xor edx, edx
  xsetbv
  xgetbv
  CHECK_EQ rax, 7
  ; The size that CPUID names for what is on.
  mov eax, 13
  xor ecx, ecx
  cpuid
  CHECK_EQ rbx, 832
  ; All in use.
  fninit
  fld1
  vpcmpeqd ymm3, ymm3, ymm3
  mov ecx, 1024 / 8
  mov rdi, area
  mov rax, 0x5a5a5a5a5a5a5a5a
  cld
  rep stosq
  mov ecx, 8
  mov rdi, area + 512
  xor eax, eax
  rep stosq
  mov eax, 7
  xor edx, edx
  xsave [area]
  mov rax, [area + 512]
  and eax, 7
  CHECK_EQ rax, 7
  CHECK_EQ [area + 160 + 3 * 16], -1
  CHECK_EQ [area + 576 + 3 * 16], -1
  ; Only what is asked for is written.
  mov qword [area + 576 + 3 * 16], 0x77
  mov eax, 3
  xsave [area]
  CHECK_EQ [area + 576 + 3 * 16], 0x77
  mov rax, [area + 512]
  and eax, 4
  CHECK_EQ rax, 4               ; and its bit is kept
  ; XRSTOR brings it back; a component whose bit is clear goes to its initial state.
  mov eax, 7
  xsave [area]
  vzeroall
  mov eax, 7
  xrstor [area]
  vextracti128 xmm4, ymm3, 1
  movq rax, xmm4
  CHECK_EQ rax, -1
  and qword [area + 512], ~4
  mov eax, 7
  xrstor [area]
  vextracti128 xmm4, ymm3, 1
  movq rax, xmm4
  CHECK_EQ rax, 0
  movq rax, xmm3
  CHECK_EQ rax, -1
  ; Reserved: a bit of XSTATE_BV that is not on, the header's other words, misalignment.
  bts qword [area + 512], 62
  TRY
  mov eax, 7
  xrstor [area]
  CATCH GP, 0
  btr qword [area + 512], 62
  mov qword [area + 520], 1
  TRY
  mov eax, 7
  xrstor [area]
  CATCH GP, 0
  mov qword [area + 520], 0
  TRY
  mov eax, 7
  xsave [area + 16]
  CATCH GP, 0
  ; MXCSR's reserved bits in the area.
  mov eax, [area + 24]
  push rax
  mov dword [area + 24], 0xffff0000
  TRY
  mov eax, 7
  xrstor [area]
  CATCH GP, 0
  pop rax
  mov [area + 24], eax
  ; TS: #NM.
  mov rax, cr0
  or eax, CR0_TS
  mov cr0, rax
  TRY
  mov eax, 7
  xsave [area]
  CATCH NM, 0
  TRY
  vzeroall
  CATCH NM, 0
  clts
  ; AVX off again: its instructions are invalid.
  xor ecx, ecx
  mov eax, 3
  xor edx, edx
  xsetbv
  TRY
  vzeroupper
  CATCH UD, 0
  mov eax, 7
  xsetbv
  ; XSAVEC: compacted, the bit 63 of XCOMP_BV.
  mov eax, 13
  mov ecx, 1
  cpuid
  mov r12d, eax
  bt r12d, 1
  jnc .no_xsavec
  vpcmpeqd ymm3, ymm3, ymm3
  mov eax, 4                    ; AVX alone: it follows the header
  xor edx, edx
  xsavec [area]
  mov rax, [area + 520]
  mov rcx, 1 << 63 | 4
  CHECK_EQ rax, rcx
  CHECK_EQ [area + 512], 4
  CHECK_EQ [area + 576 + 3 * 16], -1
  vzeroall
  mov eax, 4
  xrstor [area]
  vextracti128 xmm4, ymm3, 1
  movq rax, xmm4
  CHECK_EQ rax, -1
.no_xsavec:
  bt r12d, 2
  jnc .no_xgetbv1
  vzeroall
  mov ecx, 1
  xgetbv
  and eax, 4
  CHECK_EQ rax, 0               ; AVX is in its initial state
  vpcmpeqd ymm3, ymm3, ymm3
  mov ecx, 1
  xgetbv
  and eax, 4
  CHECK_EQ rax, 4
.no_xgetbv1:
  ret

user_xsetbv:
  xor ecx, ecx
  mov eax, 7
  xor edx, edx
  xsetbv

section .bss
alignb 64
area: resb 1024
