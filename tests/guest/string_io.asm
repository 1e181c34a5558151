; INS and OUTS: the port is asked once for each element, faults in memory stop them between elements, the bitmap is asked
; in ring 3, byte, word and dword elements, both directions. The port is 0x80 (POST codes) for OUTS, and for INS
; the PIC's mask register, which reads back what was written. SDM vol. 2A.
; expect: pass
%include "long.inc"

main:
  mov al, 0xa5
  out 0xa1, al
  ; INSB, forward.
  mov rdi, kScratch
  mov ecx, 4
  mov edx, 0xa1
  cld
  rep insb
  CHECK_EQ rcx, 0
  CHECK_EQ rdi, kScratch + 4
  mov eax, [kScratch]
  CHECK_EQ rax, 0xa5a5a5a5
  ; Backward.
  mov qword [kScratch + 16], 0
  mov rdi, kScratch + 18
  mov ecx, 2
  std
  rep insb
  cld
  CHECK_EQ rdi, kScratch + 16
  CHECK_EQ [kScratch + 16], 0xa5a500
  ; Into a page that is not there, half-way.
  mov qword [window_pt + 256 * 8], kScratch + PTE_P + PTE_W
  mov rbx, PAGE(1)
  TRY
  lea rdi, [rbx - 3]
  mov ecx, 10
  rep insb
  CATCH PF, PF_W, rbx
  CHECK_EQ rcx, 7
  CHECK_EQ rdi, rbx
  ; OUTS reads through a segment override; out of an absent page it stops likewise.
  mov edx, 0x80
  TRY
  lea rsi, [rbx - 4]
  mov ecx, 5
  rep outsw
  CATCH PF, 0, rbx
  CHECK_EQ rcx, 3
  CHECK_EQ rsi, rbx
  mov rsi, kScratch
  outsd
  CHECK_EQ rsi, kScratch + 4
  WRMSR64 MSR_FS_BASE, kScratch
  mov edx, 0xa1
  mov byte [kScratch + 0x40], 0x3c
  mov esi, 0x40
  fs outsb
  in al, dx
  movzx eax, al
  CHECK_EQ rax, 0x3c
  mov al, 0xff
  out dx, al
  ; A count of 0 asks nothing: not even the page.
  xor ecx, ecx
  mov rdi, rbx
  rep insb
  CHECK_EQ rdi, rbx
  ; Ring 3: the bitmap comes before the memory.
  TRY
  ENTER_USER user_ins
  CATCH GP, 0
  and byte [tss + 104 + 0xa1 / 8], ~2
  TRY
  ENTER_USER user_ins
  mov rbx, PAGE(1)
  CATCH PF, PF_W | PF_U
  ret

user_ins:
  mov rdi, PAGE(1)
  mov edx, 0xa1
  insb
  ud2
