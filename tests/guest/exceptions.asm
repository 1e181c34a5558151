; Every exception that ring 0 of 64-bit mode can raise by one instruction: its vector, its error code, and whether the
; saved RIP is that of the instruction (fault) or of the next (trap). SDM vol. 3A §6.15.
; expect: pass
%include "long.inc"

%define CHECK_RIP CHECK_RIP_AT __?LINE?__,
%macro CHECK_RIP_AT 2
  mov rax, %2
  CHECK_AT %1, [trap.rip], rax
%endmacro

main:
  call divide
  call debug
  call invalid
  call not_available
  call x87_error
  call addresses
  ret

divide:
  TRY
  xor edx, edx
  xor ecx, ecx
.div: div ecx
  CATCH DE, 0
  CHECK_RIP divide.div
  TRY                           ; the quotient does not fit
  mov edx, 2
  mov eax, 0
  mov ecx, 1
  div ecx
  CATCH DE, 0
  CHECK_EQ rdx, 2               ; and nothing has changed
  TRY
  mov rax, 1 << 63
  cqo
  mov rcx, -1
  idiv rcx
  CATCH DE, 0
  TRY
  mov eax, 0x8000
  mov cl, -1
  idiv cl
  CATCH DE, 0
  ret

debug:
  TRY
.int3: int3
  CATCH BP_, 0
  CHECK_RIP debug.int3 + 1
  ret

invalid:
  TRY
.ud2: ud2
  CATCH UD, 0
  CHECK_RIP invalid.ud2
  TRY
  db 0x0f, 0xb9, 0xc0           ; UD1
  CATCH UD, 0
  TRY
  db 0x06                       ; PUSH ES is not in 64-bit mode
  CATCH UD, 0
  TRY
  db 0xce                       ; nor INTO
  CATCH UD, 0
  TRY
  db 0xd5, 0x0a                 ; nor AAD
  CATCH UD, 0
  TRY
  db 0x9a, 0, 0, 0, 0, 8, 0     ; nor CALL ptr16:32
  CATCH UD, 0
  TRY
  db 0x8e, 0xc8                 ; MOV CS
  CATCH UD, 0
  TRY
  db 0x8d, 0xc0                 ; LEA of a register
  CATCH UD, 0
  TRY
  db 0x0f, 0x20, 0xc8           ; CR1
  CATCH UD, 0
  TRY                           ; 16 bytes
  times 15 db 0x66
  nop
  CATCH GP, 0
  ret

not_available:
  mov rax, cr0
  or eax, CR0_TS
  mov cr0, rax
  TRY
  fld1
  CATCH NM, 0
  TRY
  xorps xmm0, xmm0
  CATCH NM, 0
  TRY
  fwait                         ; MP is set
  CATCH NM, 0
  clts
  mov rax, cr0
  or eax, CR0_EM
  mov cr0, rax
  TRY
  fld1
  CATCH NM, 0
  TRY
  xorps xmm0, xmm0
  CATCH UD, 0
  mov rax, cr0
  and eax, ~CR0_EM
  mov cr0, rax
  mov rax, cr4
  and eax, ~CR4_OSFXSR
  mov cr4, rax
  TRY
  xorps xmm0, xmm0
  CATCH UD, 0
  or eax, CR4_OSFXSR
  mov cr4, rax
  xorps xmm0, xmm0
  ret

; An unmasked x87 exception waits for the next waiting instruction.
x87_error:
  fninit
  push 0x37b
  fldcw [rsp]
  pop rax
  fld1
  fldz
  fdivp
  fnstsw ax
  and eax, 0x8084
  CHECK_EQ rax, 0x8084          ; B, ES, ZE
  TRY
.fwait: fwait
  CATCH MF, 0
  CHECK_RIP x87_error.fwait
  fnclex
  fwait
  ret

addresses:
  TRY
  mov rdx, 0x800000000000
  mov rax, [rdx]
  CATCH GP, 0
  TRY
  mov rdx, 0x7ffffffffff9       ; the last byte is beyond
  mov rax, [rdx]
  CATCH GP, 0
  TRY
  mov rdx, rbp
  mov rbp, 0x800000000000
  mov rax, [rbp]                ; through SS
  CATCH SS_, 0
  mov rbp, rdx
  SET_GATE SS_, stubs + SS_ * kStubSize, 1, 0x8e ; the stack is not fit for the exception's own frame
  TRY
  mov rdx, rsp
  mov rsp, 0x800000001000
  push rax
  CATCH SS_, 0
  TRY
  mov rdx, 0x800000000000
  jmp rdx
  CATCH GP, 0
  TRY
  mov rdx, 0x800000000000
  call rdx
  CATCH GP, 0
  TRY
  mov rdx, 0x800000000000
  push rdx
  ret
  CATCH GP, 0
  TRY
  mov rdx, 0x7fffff000000
  mov rax, [rdx]
  CATCH PF, 0, 0x7fffff000000
  TRY
  mov rdx, 0x7fffff000123
  mov [rdx], al
  CATCH PF, PF_W, 0x7fffff000123
  TRY
  mov rdx, 0x7fffff000000
  jmp rdx
  CATCH PF, PF_I, 0x7fffff000000
  TRY
  movaps xmm0, [gdt + 1]
  CATCH GP, 0
  TRY
  movntdq [gdt + 8], xmm0
  CATCH GP, 0
  ret
