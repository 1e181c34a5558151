; Self-modifying code: the processor runs what was stored last, without any serialising instruction between, on one
; processor (SDM vol. 3A §11.6): the very next instruction, a routine that has run before, an instruction across two
; pages, code changed through another virtual address, by a string instruction, by a page-table change.
; expect: pass
%include "long.inc"

main:
  call next_instruction
  call routine
  call crossing
  call crossing_jump
  call alias
  call by_string
  call remapped
  call loop_body
  ret

next_instruction:
  xor eax, eax
  mov byte [.patched + 1], 5
  jmp short .patched            ; in the pipeline already
.patched:
  mov al, 0
  CHECK_EQ rax, 5
  ; And with nothing at all between the store and the instruction.
  xor eax, eax
  mov byte [rel .adjacent + 1], 9
.adjacent:
  mov al, 0
  CHECK_EQ rax, 9
  ret

routine:
  xor ebx, ebx
.again:
  mov [rel .value + 1], ebx
  call .value
  CHECK_EQ rax, rbx
  inc ebx
  cmp ebx, 2000
  jb .again
  ret
.value:
  mov eax, 0x11223344
  ret

; mov eax, imm32 with its immediate across two pages; each byte of it is changed on its own.
crossing:
  mov rdi, kScratch + 0xffd
  mov byte [rdi], 0xb8
  mov dword [rdi + 1], 0
  mov byte [rdi + 5], 0xc3
  call rdi
  CHECK_EQ rax, 0
  mov byte [rdi + 1], 0x11
  call rdi
  CHECK_EQ rax, 0x11
  mov byte [rdi + 3], 0x22      ; in the second page
  call rdi
  CHECK_EQ rax, 0x220011
  mov dword [rdi + 1], 0x87654321
  call rdi
  CHECK_EQ rax, 0x87654321
  mov byte [rdi], 0xbb          ; now it is mov ebx
  xor eax, eax
  call rdi
  CHECK_EQ rbx, 0x87654321
  ; An instruction that begins in the first page becomes a shorter one.
  mov byte [rdi], 0xc3
  xor eax, eax
  call rdi
  CHECK_EQ rax, 0
  ret

; jmp rel32 that ends in the second page, where nothing else is ever run: its last bytes are changed.
crossing_jump:
  mov rdi, kScratch + 0x8fff - 2
  mov byte [rdi], 0xe9
  mov dword [rdi + 1], 0x1000
  mov word [rdi + 5 + 0x1000], 0x01b0  ; mov al, 1
  mov byte [rdi + 5 + 0x1002], 0xc3
  mov word [rdi + 5 + 0x11000], 0x02b0  ; mov al, 2
  mov byte [rdi + 5 + 0x11002], 0xc3
  xor ebx, ebx
.again:
  xor eax, eax
  call rdi
  CHECK_EQ rax, 1
  mov byte [rdi + 3], 1      ; in the second page
  call rdi
  CHECK_EQ rax, 2
  mov byte [rdi + 3], 0
  inc ebx
  cmp ebx, 50
  jb .again
  ret

alias:
  mov qword [window_pt + 256 * 8], kScratch + PTE_P + PTE_W
  mov rbx, PAGE(0)
  invlpg [rbx]
  mov byte [kScratch], 0xb8
  mov dword [kScratch + 1], 1
  mov byte [kScratch + 5], 0xc3
  call rbx
  CHECK_EQ rax, 1
  mov dword [kScratch + 1], 2   ; by another address than it runs at
  call rbx
  CHECK_EQ rax, 2
  mov rdi, kScratch
  call rdi
  CHECK_EQ rax, 2
  mov dword [rbx + 1], 3
  call rdi
  CHECK_EQ rax, 3
  ret

by_string:
  mov rdi, kScratch + 0x2000
  mov rsi, .first
  mov ecx, 6
  rep movsb
  mov rbx, kScratch + 0x2000
  call rbx
  CHECK_EQ rax, 0x1111
  mov rdi, rbx
  mov rsi, .second
  mov ecx, 6
  rep movsb
  call rbx
  CHECK_EQ rax, 0x2222
  mov rax, [.first]
  lock xchg [rbx], rax
  call rbx
  CHECK_EQ rax, 0x1111
  movups xmm0, [.second]
  movups [rbx], xmm0
  call rbx
  CHECK_EQ rax, 0x2222
  ret
.first:
  mov eax, 0x1111
  ret
  align 8
.second:
  mov eax, 0x2222
  ret
  align 16

; The same virtual address, another page.
remapped:
  mov dword [kScratch + 0x3000], 0x01b8
  mov dword [kScratch + 0x3004], 0xc300
  mov dword [kScratch + 0x4000], 0x02b8
  mov dword [kScratch + 0x4004], 0xc300
  mov rbx, PAGE(1)
  mov ebp, 50
.again:
  mov qword [window_pt + 257 * 8], kScratch + 0x3000 + PTE_P + PTE_W
  invlpg [rbx]
  call rbx
  CHECK_EQ rax, 1
  mov qword [window_pt + 257 * 8], kScratch + 0x4000 + PTE_P + PTE_W
  invlpg [rbx]
  call rbx
  CHECK_EQ rax, 2
  dec ebp
  jnz .again
  ret

; A loop that rewrites an instruction further down in itself in every round.
loop_body:
  xor ebx, ebx
  xor ecx, ecx
.top:
  mov [rel .patched + 3], ecx
  inc ecx
.patched:
  db 0x48, 0x8d, 0x9b           ; lea rbx, [rbx + disp32]
  dd 0x12345678
  cmp ecx, 100
  jb .top
  CHECK_EQ rbx, 4950
  ret
