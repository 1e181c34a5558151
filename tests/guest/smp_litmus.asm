; Litmus tests of the memory model: message passing (stores are seen in order), store buffering with MFENCE and with a
; LOCKed instruction (never both 0), and one order of stores for all onlookers. SDM vol. 3A §9.2.3.
; expect: pass
; cpus: 2
%include "long.inc"
%include "apic.inc"
%include "smp.inc"

kRounds equ 2000

main:
  mov edi, 1
  call start_aps
  xor ebx, ebx
  jmp side

ap_main:
  mov ebx, 1

; rbx: which side; rbp: rounds. x and y on lines of their own.
side:
  mov ebp, kRounds
.round:
  BARRIER gate, 2
  ; Message passing: 0 writes x then y, 1 reads y then x.
  test ebx, ebx
  jnz .reader
  mov qword [x], rbp
  mov qword [y], rbp
  jmp .passed
.reader:
  mov rax, [y]
  mov rcx, [x]
  cmp rax, rbp                  ; if y is new, x is too
  jne .passed
  cmp rcx, rbp
  je .passed
  lock inc qword [broken_passing]
.passed:
  BARRIER gate, 2
  mov qword [x], 0
  mov qword [y], 0
  BARRIER gate, 2
  ; Store buffering with a fence.
  test ebx, ebx
  jnz .second
  mov qword [x], 1
  mfence
  mov rax, [y]
  mov [seen], rax
  jmp .stored
.second:
  mov qword [y], 1
  lock or dword [rsp - 8], 0    ; as good a fence
  mov rax, [x]
  mov [seen + 8], rax
.stored:
  BARRIER gate, 2
  test ebx, ebx
  jnz .next
  mov rax, [seen]
  or rax, [seen + 8]
  jnz .next
  inc qword [broken_fence]
.next:
  BARRIER gate, 2
  dec ebp
  jnz .round
  test ebx, ebx
  jnz .end
  CHECK_EQ [broken_passing], 0
  CHECK_EQ [broken_fence], 0
.end:
  ret

section .bss
alignb 64
x: resq 8
y: resq 8
gate: resq 8
seen: resq 2
broken_passing: resq 1
broken_fence: resq 1
