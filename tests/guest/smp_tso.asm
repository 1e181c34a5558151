; Litmus tests of the memory model with two to four processors, each on many pairs of words: what TSO forbids must never
; be seen (SDM vol. 3A §9.2.2, §9.2.3.2-9.2.3.9; the names are those of the literature):
;   MP   stores are seen in order                    LB    a load is not passed by a later store
;   S    a store after a load                        2+2W  one order of stores to each word
;   WRC  causality through a third processor         IRIW  all see two stores in one order
;   R    a store, a fence, a load                    SB    stores, fences, loads: not both old
; SB and R with MFENCE, with LOCK and XCHG as the store itself, which also run on words across a cache line and across a
; page; MP with locked stores there, too.
; expect: pass
; cpus: 4
%include "long.inc"
%include "apic.inc"
%include "smp.inc"

kX equ kScratch
kY equ kScratch + 0x40000
kResults equ kScratch + 0x80000
kBatches equ 20

; Each processor's part: x at rsi, y at rdi, results at rbx. Uses rax, rcx, rdx. All words start as 0.
section .text
store_x_y:
  mov qword [rsi], 1
  mov qword [rdi], 1
  ret
load_y_x:
  mov rax, [rdi]
  mov rcx, [rsi]
  mov [rbx], rax
  mov [rbx + 8], rcx
  ret
load_y_x_too:                   ; a second who looks: results of its own
  mov rax, [rdi]
  mov rcx, [rsi]
  mov [rbx + 16], rax
  mov [rbx + 24], rcx
  ret
xchg_x_y:                       ; locked stores
  mov eax, 1
  xchg [rsi], rax
  mov eax, 1
  xchg [rdi], rax
  ret
check_mp:                       ; y new and x old
  cmp qword [rbx], 1
  jne fine
  cmp qword [rbx + 8], 0
  jne fine
  jmp forbidden

check_mp_both:                  ; the same, of either
  cmp qword [rbx + 16], 1
  jne check_mp
  cmp qword [rbx + 24], 0
  jne check_mp
  jmp forbidden

load_x_store_y:
  mov rax, [rsi]
  mov qword [rdi], 1
  mov [rbx], rax
  ret
load_y_store_x:
  mov rax, [rdi]
  mov qword [rsi], 1
  mov [rbx + 8], rax
  ret
check_lb:                       ; both new
  mov rax, [rbx]
  and rax, [rbx + 8]
  jz fine
  jmp forbidden

store_x2_y1:
  mov qword [rsi], 2
  mov qword [rdi], 1
  ret
check_s:                        ; y was seen new, yet the 1 that followed it lies under the 2
  cmp qword [rbx + 8], 1
  jne fine
  cmp qword [rsi], 2
  jne fine
  jmp forbidden

store_x1_y2:
  mov qword [rsi], 1
  mov qword [rdi], 2
  ret
store_y1_x2:
  mov qword [rdi], 1
  mov qword [rsi], 2
  ret
check_22w:                      ; both firsts last
  cmp qword [rsi], 1
  jne fine
  cmp qword [rdi], 1
  jne fine
  jmp forbidden

store_x:
  mov qword [rsi], 1
  ret
store_y:
  mov qword [rdi], 1
  ret
load_x_store_y_if:              ; y := x
  mov rax, [rsi]
  mov [rdi], rax
  ret

load_x_y:
  mov rax, [rsi]
  mov rcx, [rdi]
  mov [rbx + 16], rax
  mov [rbx + 24], rcx
  ret
check_iriw:                     ; one saw y before x, the other x before y
  cmp qword [rbx], 1
  jne fine
  cmp qword [rbx + 8], 0
  jne fine
  cmp qword [rbx + 16], 1
  jne fine
  cmp qword [rbx + 24], 0
  jne fine
  jmp forbidden

store_y2_fence_load_x:
  mov qword [rdi], 2
  mfence
  mov rax, [rsi]
  mov [rbx], rax
  ret
xchg_y2_load_x:
  mov eax, 2
  xchg [rdi], rax
  mov rax, [rsi]
  mov [rbx], rax
  ret
check_r:                        ; y's 2 came after the 1, which came after x
  cmp qword [rdi], 2
  jne fine
  cmp qword [rbx], 0
  jne fine
  jmp forbidden

store_x_fence_load_y:
  mov qword [rsi], 1
  mfence
  mov rax, [rdi]
  mov [rbx], rax
  ret
store_y_fence_load_x:
  mov qword [rdi], 1
  mfence
  mov rax, [rsi]
  mov [rbx + 8], rax
  ret
store_x_lock_load_y:
  mov qword [rsi], 1
  lock or dword [rsp - 64], 0
  mov rax, [rdi]
  mov [rbx], rax
  ret
store_y_lock_load_x:
  mov qword [rdi], 1
  lock or dword [rsp - 64], 0
  mov rax, [rsi]
  mov [rbx + 8], rax
  ret
xchg_x_load_y:
  mov eax, 1
  xchg [rsi], rax
  mov rax, [rdi]
  mov [rbx], rax
  ret
xadd_y_load_x:
  mov eax, 1
  lock xadd [rdi], rax
  mov rax, [rsi]
  mov [rbx + 8], rax
  ret
check_sb:                       ; both old
  mov rax, [rbx]
  or rax, [rbx + 8]
  jnz fine
  jmp forbidden

fine:
  ret
forbidden:
  inc qword [seen]
  ret

; One row a test: four parts (0: idles), the check, where x and y start in their strides, the stride, how many.
section .data
align 8
tests:
%macro TEST 8
  dq %1, %2, %3, %4, %5, %6, %7, %8
%endmacro
  TEST store_x_y, load_y_x, 0, 0, check_mp, 0, 128, 256
  TEST xchg_x_y, load_y_x, load_y_x_too, 0, check_mp_both, 0, 128, 256
  TEST xchg_x_y, load_y_x, 0, 0, check_mp, 60, 128, 256
  TEST xchg_x_y, load_y_x, 0, 0, check_mp, 4092, 4096, 63
  TEST load_x_store_y, load_y_store_x, 0, 0, check_lb, 0, 128, 256
  TEST store_x2_y1, load_y_store_x, 0, 0, check_s, 0, 128, 256
  TEST store_x1_y2, store_y1_x2, 0, 0, check_22w, 0, 128, 256
  TEST store_x, load_x_store_y_if, load_y_x, 0, check_mp, 0, 128, 256
  TEST store_x, store_y, load_y_x, load_x_y, check_iriw, 0, 128, 256
  TEST store_x_y, store_y2_fence_load_x, 0, 0, check_r, 0, 128, 256
  TEST store_x_y, xchg_y2_load_x, 0, 0, check_r, 0, 128, 256
  TEST store_x_fence_load_y, store_y_fence_load_x, 0, 0, check_sb, 0, 128, 256
  TEST store_x_lock_load_y, store_y_lock_load_x, 0, 0, check_sb, 0, 128, 256
  TEST xchg_x_load_y, xadd_y_load_x, 0, 0, check_sb, 0, 128, 256
  TEST xchg_x_load_y, xadd_y_load_x, 0, 0, check_sb, 60, 128, 256
  TEST xchg_x_load_y, xadd_y_load_x, 0, 0, check_sb, 4092, 4096, 63
tests_end:
section .text

main:
  mov edi, 3
  call start_aps
  xor edi, edi
  call all_tests
  ret
ap_main:
  call all_tests
  ret

; rdi: which processor.
all_tests:
  mov r8, rdi
  mov r9, tests
.test:
  mov r10d, kBatches
.batch:
  test r8, r8
  jnz .cleared
  mov rdi, kScratch
  mov ecx, 0x90000 / 8
  xor eax, eax
  rep stosq
.cleared:
  BARRIER gate, 4
  mov r11, [r9 + r8 * 8]
  test r11, r11
  jz .ran
  call each
.ran:
  BARRIER gate, 4
  test r8, r8
  jnz .next
  mov r11, [r9 + 32]
  call each
  cmp qword [seen], 0
  je .next
  mov rax, r9
  sub rax, tests
  shr rax, 6
  inc rax                       ; the number of the test is what the failure shows
  CHECK_EQ rax, 0
.next:
  dec r10d
  jnz .batch
  add r9, 64
  cmp r9, tests_end
  jb .test
  ret

; Calls r11 for each of the test's pairs.
each:
  mov rsi, [r9 + 40]
  lea rdi, [rsi + kY]
  add rsi, kX
  mov rbx, kResults
  mov rbp, [r9 + 56]
.pair:
  call r11
  add rsi, [r9 + 48]
  add rdi, [r9 + 48]
  add rbx, 64
  dec rbp
  jnz .pair
  ret

section .bss
alignb 64
gate: resq 8
seen: resq 1
