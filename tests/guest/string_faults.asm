; String instructions that fault in the middle: RCX, RSI and RDI stand at the element that faulted, RIP at the instruction,
; what came before is done, and after the page is mapped the instruction continues, also by the handler's IRET. Both
; directions, every size, CMPS and SCAS with their flags, 32-bit addresses. SDM vol. 2B, REP.
; expect: pass
%include "long.inc"

; The test page is PAGE(0), mapped to kScratch; PAGE(1) is absent.
main:
  mov qword [window_pt + 256 * 8], kScratch + PTE_P + PTE_W
  mov qword [window_pt + 255 * 8], 0       ; and below it nothing
  mov rax, PAGE(0)
  invlpg [rax]
  cld
  ; STOSB up into the absent page.
  mov rbx, PAGE(1)
  TRY
  lea rdi, [rbx - 10]
  mov ecx, 100
  mov al, 0x5a
  rep stosb
  CATCH PF, PF_W, rbx
  CHECK_EQ rdi, rbx
  CHECK_EQ rcx, 90
  CHECK_EQ [kScratch + 4096 - 16], 0x5a5a000000000000
  ; Mapped, it goes on from there.
  mov qword [window_pt + 257 * 8], kScratch + 4096 + PTE_P + PTE_W
  rep stosb
  CHECK_EQ rcx, 0
  lea rax, [rbx + 90]
  CHECK_EQ rdi, rax
  mov al, [kScratch + 4096 + 89]
  movzx eax, al
  CHECK_EQ rax, 0x5a
  mov qword [window_pt + 257 * 8], 0
  invlpg [rbx]
  ; STOSQ with an element across the boundary: nothing of that element is written.
  mov qword [kScratch + 4096 - 8], 0
  TRY
  lea rdi, [rbx - 20]
  mov ecx, 5
  mov rax, -1
.stosq: rep stosq
  CATCH PF, PF_W, rbx
  CHECK_EQ [trap.rip], .stosq
  CHECK_EQ rcx, 3
  lea rax, [rbx - 4]
  CHECK_EQ rdi, rax
  CHECK_EQ [kScratch + 4096 - 8], 0x00000000ffffffff
  ; Downwards out of the page.
  mov rbp, PAGE(0)
  std
  TRY
  lea rdi, [rbp + 12]
  mov ecx, 50
  xor eax, eax
.stosd: rep stosd
  CATCH PF, PF_W
  CHECK_EQ [trap.rip], .stosd
  cld
  CHECK_EQ rcx, 46
  lea rax, [rbp - 4]
  CHECK_EQ rdi, rax
  CHECK_EQ [trap.cr2], rax
  ; MOVSW: the source faults, then the destination.
  TRY
  lea rsi, [rbx - 6]
  mov rdi, kScratch + 0x100
  mov ecx, 10
.movsw: rep movsw
  CATCH PF, 0, rbx
  CHECK_EQ [trap.rip], .movsw
  CHECK_EQ rcx, 7
  CHECK_EQ rsi, rbx
  CHECK_EQ rdi, kScratch + 0x106
  TRY
  mov rsi, kScratch + 0x100
  lea rdi, [rbx - 6]
  mov ecx, 10
  rep movsw
  CATCH PF, PF_W, rbx
  CHECK_EQ rcx, 7
  CHECK_EQ rsi, kScratch + 0x106
  CHECK_EQ rdi, rbx
  ; LODSB
  TRY
  lea rsi, [rbx - 3]
  mov ecx, 8
  rep lodsb
  CATCH PF, 0, rbx
  CHECK_EQ rcx, 5
  CHECK_EQ rsi, rbx
  ; CMPSB and SCASB: what they found before the fault is in no flag yet that matters, but the counts are.
  mov qword [kScratch + 4096 - 8], 0
  mov qword [kScratch + 0x200], 0
  TRY
  lea rsi, [rbx - 4]
  mov rdi, kScratch + 0x200
  mov ecx, 20
.cmpsb: repe cmpsb
  CATCH PF, 0, rbx
  CHECK_EQ [trap.rip], .cmpsb
  CHECK_EQ rcx, 16
  CHECK_EQ rdi, kScratch + 0x204
  TRY
  lea rdi, [rbx - 4]
  mov al, 1
  mov ecx, 20
  repne scasb
  CATCH PF, 0, rbx
  CHECK_EQ rcx, 16
  ; They end by themselves before the page does.
  mov byte [kScratch + 4096 - 2], 7
  lea rdi, [rbx - 4]
  mov al, 7
  mov ecx, 20
  repne scasb
  setz al
  movzx eax, al
  CHECK_EQ rax, 1
  CHECK_EQ rcx, 17
  lea rax, [rbx - 1]
  CHECK_EQ rdi, rax
  ; RCX = 0 touches nothing at all, and changes no flag.
  xor ecx, ecx
  mov rdi, rbx
  mov rsi, rbx
  stc
  rep movsb
  repe cmpsb
  repne scasq
  setc al
  movzx eax, al
  CHECK_EQ rax, 1
  CHECK_EQ rdi, rbx
  ; With 32-bit addresses the count and the pointers are ECX, ESI and EDI, and their upper halves are cleared as they
  ; are written.
  mov rcx, 0xf00000003
  mov rdi, 0xf00000000 + kScratch + 0x300
  mov al, 0x11
  a32 rep stosb
  CHECK_EQ rcx, 0
  CHECK_EQ rdi, kScratch + 0x303
  CHECK_EQ [kScratch + 0x300], 0x111111
  ; Overlap, byte by byte: the classic fill.
  mov byte [kScratch + 0x400], 0x77
  mov rsi, kScratch + 0x400
  mov rdi, kScratch + 0x401
  mov ecx, 15
  rep movsb
  mov rax, 0x7777777777777777
  CHECK_EQ [kScratch + 0x408], rax
  call continued
  ret

; A handler that maps the page and returns: the instruction goes on by itself, over three pages that come one by one.
continued:
  SET_GATE PF, map_page, 0, 0x8e
  call unmap
  lea rdi, [rbx - 4]              ; each page's end is within an element
  mov ecx, 1500
  mov rax, 0x0123456789abcdef
  rep stosq
  CHECK_EQ rcx, 0
  lea rdx, [rbx - 4 + 1500 * 8]
  CHECK_EQ rdi, rdx
  CHECK_EQ [faults], 3
  CHECK_EQ [kScratch + 4096 - 4], rax
  CHECK_EQ [kScratch + 3 * 4096 - 4], rax
  CHECK_EQ [kScratch + 4096 - 12 + 1500 * 8], rax
  ; Read by one, written by the same: source and target are a byte apart, so that they fault in turn.
  call unmap
  lea rsi, [rbx - 8]
  lea rdi, [rbx - 7]
  mov byte [rsi], 0x5a
  mov ecx, 10000
  rep movsb
  CHECK_EQ rcx, 0
  CHECK_EQ [faults], 3
  mov rax, 0x5a5a5a5a5a5a5a5a
  CHECK_EQ [kScratch + 4096 - 8], rax
  CHECK_EQ [kScratch + 4096 - 15 + 10000], rax
  ; Compared: the flags are those of the last element, whatever faulted between.
  call unmap
  lea rdi, [rbx - 8]
  mov ecx, 20000
  mov eax, 0x5a
  repe scasb
  setb al
  movzx eax, al
  CHECK_EQ rax, 0                 ; the byte behind is 0x45, of what STOSQ left
  mov rcx, rdi
  sub rcx, rbx
  CHECK_EQ rcx, 10000 - 7 + 1
  CHECK_EQ [faults], 3
  ret

unmap:
  mov qword [faults], 0
  mov rdx, cr3
  xor eax, eax
.next:
  mov qword [window_pt + 257 * 8 + rax * 8], 0
  inc eax
  cmp eax, 3
  jb .next
  mov cr3, rdx
  ret
map_page:
  push rax
  push rcx
  mov rax, cr2
  mov rcx, PAGE(0)
  sub rax, rcx
  shr rax, 12                     ; the page's number
  mov rcx, rax
  shl rcx, 12
  add rcx, kScratch + PTE_P + PTE_W
  mov [window_pt + 256 * 8 + rax * 8], rcx
  inc qword [faults]
  pop rcx
  pop rax
  add rsp, 8
  iretq

section .bss
alignb 8
faults: resq 1
