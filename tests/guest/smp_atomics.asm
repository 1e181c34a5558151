; Atomic operations of four processors on the same words: XADD, INC, CMPXCHG, CMPXCHG16B, XCHG as a lock, BTS, on
; aligned words, across a cache line and across a page. Nothing may be lost. SDM vol. 3A §9.1.
; expect: pass
; cpus: 4
%include "long.inc"
%include "apic.inc"
%include "smp.inc"

kRounds equ 3000
kLine equ kScratch + 0x1000 - 4 + 0x40  ; across a cache line
kAcross equ kScratch + 0x3000 - 4       ; across a page

main:
  mov edi, 3
  call start_aps
  BARRIER gate, 4
  call work
  BARRIER gate, 4
  CHECK_EQ [added], kRounds * 4
  CHECK_EQ [incremented], kRounds * 4
  CHECK_EQ [exchanged], kRounds * 4 * 3
  CHECK_EQ [pair], kRounds * 4
  CHECK_EQ [pair + 8], kRounds * 4 * 5
  CHECK_EQ [guarded], kRounds * 4
  CHECK_EQ [kLine], kRounds * 4 * 0x100000001
  CHECK_EQ [kAcross], kRounds * 4 * 0x100000001
  CHECK_EQ [tickets], 0
  ret

ap_main:
  BARRIER gate, 4
  call work
  BARRIER gate, 4
  ret

work:
  mov ebp, kRounds
  mov r8, 0x100000001
.round:
  mov eax, 1
  lock xadd [added], rax
  lock inc qword [incremented]
  mov rax, [exchanged]
.exchange:
  lea rdx, [rax + 3]
  lock cmpxchg [exchanged], rdx
  jne .exchange
  mov rax, [pair]
  mov rdx, [pair + 8]
.pair:
  lea rbx, [rax + 1]
  lea rcx, [rdx + 5]
  lock cmpxchg16b [pair]
  jne .pair
  mov eax, 1
.lock:
  xchg eax, [spin]              ; locks without the prefix
  test eax, eax
  jz .mine
  pause
  jmp .lock
.mine:
  inc qword [guarded]
  mov dword [spin], 0
  lock add [kLine], r8
  lock add [kAcross], r8
.bit:
  lock bts qword [tickets], 5
  jc .bit
  lock btr qword [tickets], 5
  dec ebp
  jnz .round
  ret

section .bss
alignb 16
pair: resq 2
gate: resq 1
added: resq 1
incremented: resq 1
exchanged: resq 1
guarded: resq 1
tickets: resq 1
spin: resd 1
