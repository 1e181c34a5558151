; A return to an address that is not canonical, where a return to the caller is expected: the fault is the return's, and RSP
; as before it.
; expect: pass
%include "long.inc"
main:
  mov ebp, 200
.again:
  TRY
  call .spoils
  CATCH 13, 0
  CHECK_EQ [trap.rip], .returns
  mov rax, rsp
  sub rax, 8
  CHECK_EQ [trap.old_rsp], rax
  dec ebp
  jnz .again
; The call itself pushes such an address: it is the lower half's last instruction.
  mov rax, pml4
  mov qword [rax + 255 * 8], last_pdpt + PTE_P + PTE_W
  mov qword [last_pdpt + 511 * 8], last_pd + PTE_P + PTE_W
  mov qword [last_pd + 511 * 8], last_pt + PTE_P + PTE_W
  mov qword [last_pt + 511 * 8], last_page + PTE_P + PTE_W
  mov byte [last_page + 0xff0], 0x90     ; nop; ret, called at the end
  mov byte [last_page + 0xff1], 0xc3
  mov byte [last_page + 0xffb], 0xe8
  mov dword [last_page + 0xffc], -16
  mov rbx, 0x7ffffffffffb
  mov ebp, 200
.again_at_the_end:
  TRY
  jmp rbx
  CATCH 13, 0
  mov rax, 0x7ffffffffff1
  CHECK_EQ [trap.rip], rax
  mov rax, rsp
  sub rax, 8
  CHECK_EQ [trap.old_rsp], rax
  dec ebp
  jnz .again_at_the_end
  ret
.spoils:
  mov rax, 0x123456789abcdef0
  mov [rsp], rax
.returns:
  ret
section .bss
alignb 4096
last_pdpt: resb 4096
last_pd: resb 4096
last_pt: resb 4096
last_page: resb 4096
