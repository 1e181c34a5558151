; Accessed and dirty bits page by page: each kind of store sets D in every page that it writes, and in no other, however
; near and however lately read that one is; every access sets A. (A may also be set ahead of an access, D never: SDM
; vol. 3A §4.8.) Loads, stores, read-modify-writes, stacks, strings, vectors, accesses across two pages; first with A and
; D clear, then with A set by a load before.
; expect: pass
%include "long.inc"

kPages equ 16

; The instruction must set D in exactly the pages of a bit mask (page 0 is bit 0).
%define DIRTIES DIRTIES_AT __?LINE?__,
%macro DIRTIES_AT 3+ ; line; mask; instruction
  %assign pass 0
  %rep 2
    mov r12d, pass
    call clear
    %3
    call dirty
    CHECK_AT %1, r8, %2
    mov r9d, %2
    and r9, r10
    CHECK_AT %1, r9, %2           ; A where D is
    %assign pass pass + 1
  %endrep
%endmacro
; It must set A in all pages of the mask, and D nowhere.
%define ACCESSES ACCESSES_AT __?LINE?__,
%macro ACCESSES_AT 3+
  xor r12d, r12d
  call clear
  %3
  call dirty
  CHECK_AT %1, r8, 0
  mov r9d, %2
  and r9, r10
  CHECK_AT %1, r9, %2
%endmacro

main:
  mov ebp, 3                      ; rounds: what is kept from the first one must not show in the next
.round:
  call loads
  call stores
  call crossings
  call stacks
  call strings
  call vectors
  dec ebp
  jnz .round
  call large
  ret

loads:
  ACCESSES 1 << 3, mov rax, [rbx + 3 * 4096 + 8]
  ACCESSES 1 << 4, cmp qword [rbx + 4 * 4096], 1
  ACCESSES 1 << 5 | 1 << 6, mov rax, [rbx + 6 * 4096 - 3]
  ACCESSES 1 << 7, movups xmm0, [rbx + 7 * 4096]
  ACCESSES 1 << 7, bt dword [rbx + 7 * 4096], 3
  ret

stores:
  DIRTIES 1 << 3, mov [rbx + 3 * 4096 + 8], rax
  DIRTIES 1 << 3, mov byte [rbx + 3 * 4096], 1
  DIRTIES 1 << 4, add dword [rbx + 4 * 4096 + 16], 5
  DIRTIES 1 << 4, or byte [rbx + 4 * 4096], 0
  DIRTIES 1 << 5, lock inc qword [rbx + 5 * 4096]
  DIRTIES 1 << 5, xchg [rbx + 5 * 4096], rax
  DIRTIES 1 << 6, setc [rbx + 6 * 4096]
  DIRTIES 1 << 6, bts qword [rbx + 6 * 4096], 7
  ; Compared and found different: written all the same.
  mov qword [kScratch + 7 * 4096], 1
  mov qword [kScratch + 7 * 4096 + 8], 1
  xor eax, eax
  xor edx, edx
  DIRTIES 1 << 7, call compare_8
  DIRTIES 1 << 7, call compare_16
  ; One after the other to neighbours.
  DIRTIES 1 << 8 | 1 << 10, call two_pages
  ret
compare_8:
  xor eax, eax
  cmpxchg [rbx + 7 * 4096], rcx
  ret
compare_16:
  xor eax, eax
  xor edx, edx
  cmpxchg16b [rbx + 7 * 4096]
  ret
two_pages:
  mov [rbx + 8 * 4096], rax
  mov rax, [rbx + 9 * 4096]
  mov [rbx + 10 * 4096 - 0], rax
  ret

crossings:
  DIRTIES 1 << 3 | 1 << 4, mov [rbx + 4 * 4096 - 1], rax
  DIRTIES 1 << 3 | 1 << 4, mov [rbx + 4 * 4096 - 7], rax
  DIRTIES 1 << 3, mov [rbx + 4 * 4096 - 8], rax
  DIRTIES 1 << 5 | 1 << 6, lock add [rbx + 6 * 4096 - 4], rax
  DIRTIES 1 << 5 | 1 << 6, not word [rbx + 6 * 4096 - 1]
  ret

; The stack in page 9, read above and written below its start.
stacks:
  DIRTIES 1 << 8, call push_down
  DIRTIES 1 << 8 | 1 << 9, call push_across
  DIRTIES 1 << 8, call call_down
  ret
push_down:
  mov rdi, rsp
  lea rsp, [rbx + 9 * 4096]
  push rax
  mov rsp, rdi
  ret
push_across:
  mov rdi, rsp
  lea rsp, [rbx + 9 * 4096 + 4]
  push rax
  mov rsp, rdi
  ret
call_down:
  mov rdi, rsp
  lea rsp, [rbx + 9 * 4096]
  call .inner
  mov rsp, rdi
  ret
.inner:
  ret

strings:
  DIRTIES 7 << 4, call store_string
  DIRTIES 1 << 12, call move_string
  ret
store_string:
  lea rdi, [rbx + 4 * 4096 + 8]
  mov ecx, 2 * 4096 / 8
  rep stosq
  ret
move_string:
  lea rsi, [rbx + 10 * 4096 + 100]
  lea rdi, [rbx + 12 * 4096]
  mov ecx, 4000
  rep movsb
  ret

vectors:
  DIRTIES 1 << 11, movaps [rbx + 11 * 4096], xmm0
  DIRTIES 1 << 11 | 1 << 12, movups [rbx + 12 * 4096 - 8], xmm0
  DIRTIES 1 << 11, movntdq [rbx + 11 * 4096 + 4080], xmm0
  DIRTIES 1 << 12 | 1 << 13, fxsave [rbx + 13 * 4096 - 256]
  DIRTIES 1 << 13, call store_x87
  ret
store_x87:
  fldz
  fstp tword [rbx + 13 * 4096]
  ret

; Two large pages: D in the one that is written, however much of the other is read.
large:
  mov qword [window_pd + 2 * 8], 0x800000 + PTE_P + PTE_W + PTE_PS
  mov qword [window_pd + 3 * 8], 0xa00000 + PTE_P + PTE_W + PTE_PS
  mov rax, cr3
  mov cr3, rax
  mov rbx, kUser + 2 * 0x200000
  mov rax, [rbx]
  mov rax, [rbx + 0x200000]
  mov rax, [rbx + 0x1000]
  mov [rbx + 0x201000], rax
  mov eax, [window_pd + 2 * 8]
  and eax, PTE_A | PTE_D
  CHECK_EQ rax, PTE_A
  mov eax, [window_pd + 3 * 8]
  and eax, PTE_A | PTE_D
  CHECK_EQ rax, PTE_A | PTE_D
  mov [rbx + 0x3000], rax
  mov eax, [window_pd + 2 * 8]
  and eax, PTE_A | PTE_D
  CHECK_EQ rax, PTE_A | PTE_D
  ret

; The pages as new, at PAGE(0) = rbx; r12: each is read once.
clear:
  push rax
  push rcx
  xor ecx, ecx
.next:
  mov rax, rcx
  shl rax, 12
  add rax, kScratch + PTE_P + PTE_W
  mov [window_pt + 256 * 8 + rcx * 8], rax
  inc ecx
  cmp ecx, kPages
  jb .next
  mov rax, cr3
  mov cr3, rax
  mov rbx, PAGE(0)
  test r12d, r12d
  jz .done
  mov ecx, kPages - 1
.read:
  mov rax, rcx
  shl rax, 12
  mov rax, [rbx + rax]
  dec ecx
  jns .read
.done:
  pop rcx
  pop rax
  ret
; r8: the pages with D, r10: those with A.
dirty:
  push rcx
  xor r8d, r8d
  xor r10d, r10d
  xor ecx, ecx
.next:
  mov r9, [window_pt + 256 * 8 + rcx * 8]
  test r9d, PTE_D
  jz .clean
  bts r8d, ecx
.clean:
  test r9d, PTE_A
  jz .untouched
  bts r10d, ecx
.untouched:
  inc ecx
  cmp ecx, kPages
  jb .next
  pop rcx
  ret
