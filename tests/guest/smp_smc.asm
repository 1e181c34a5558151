; Code that one processor changes and another runs (cross-modifying code, SDM vol. 3A §9.1.3): the other executes a
; serialising instruction and then what was stored last. A routine in a page of its own, one in the page of the code
; that waits for it, an instruction across two pages changed in either, a routine changed through another virtual
; address, by a string instruction, by a locked one, and one followed by another page. Last, a loop that never
; serialises: a change of one byte of it is seen sooner or later.
; expect: pass
; cpus: 2
%include "long.inc"
%include "apic.inc"
%include "smp.inc"

kOwn      equ kScratch
kCrossing equ kScratch + 0x2ffc  ; mov eax, imm32: one byte of the immediate is in the second page; ret
kAliased  equ kScratch + 0x5000
kString   equ kScratch + 0x6000
kFirst    equ kScratch + 0x7000
kSecond   equ kScratch + 0x8000
kRounds   equ 12

; The other processor calls the code at %1, which must return %2 (not rax).
%define OTHER_RUNS OTHER_RUNS_AT __?LINE?__,
%macro OTHER_RUNS_AT 3
  mov rax, %2
  mov [target], rax
  call let_run
  CHECK_AT %1, [ran], %3
%endmacro
%macro MOV_EAX_AT 1 ; mov eax, 0; ret
  mov byte [%1], 0xb8
  mov dword [(%1) + 1], 0
  mov byte [(%1) + 5], 0xc3
%endmacro

main:
  SET_GATE 0x52, on_request, 0, 0x8e
  SET_GATE 0x53, on_answer, 0, 0x8e
  MOV_EAX_AT kOwn
  MOV_EAX_AT kCrossing
  MOV_EAX_AT kAliased
  MOV_EAX_AT kString
  MOV_EAX_AT kFirst
  MOV_EAX_AT kSecond
  mov dword [kSecond + 1], 0x222
  mov qword [window_pt + 256 * 8], kAliased + PTE_P + PTE_W
  mov qword [window_pt + 257 * 8], kFirst + PTE_P + PTE_W
  mov edi, 1
  call start_aps
  mov ebp, 1
.round:
  mov [kOwn + 1], ebp
  OTHER_RUNS kOwn, rbp
  ; In the page that the other processor waits in.
  mov [beside + 1], ebp
  OTHER_RUNS beside, rbp
  ; The second page alone, the first alone.
  mov eax, ebp
  mov [kCrossing + 4], al
  mov ecx, [kCrossing + 1]
  OTHER_RUNS kCrossing, rcx
  mov eax, ebp
  mov [kCrossing + 2], al
  mov ecx, [kCrossing + 1]
  OTHER_RUNS kCrossing, rcx
  ; Stored by one address, run at another, and the other way round.
  mov [kAliased + 1], ebp
  OTHER_RUNS PAGE(0), rbp
  lea rcx, [rbp + 0x10000]
  mov rbx, PAGE(0)
  mov [rbx + 1], ecx
  OTHER_RUNS kAliased, rcx
  ; By a string instruction, by a locked one.
  mov [source + 1], ebp
  mov rsi, source
  mov rdi, kString
  mov ecx, 6
  rep movsb
  OTHER_RUNS kString, rbp
  lock add dword [kString + 1], 7
  lea rcx, [rbp + 7]
  OTHER_RUNS kString, rcx
  inc ebp
  cmp ebp, kRounds
  jb .round

  ; The code's address leads elsewhere, and back. (The other processor drops its translation, as told to.)
  mov ebp, 8
.mappings:
  mov qword [window_pt + 257 * 8], kSecond + PTE_P + PTE_W
  OTHER_RUNS PAGE(1), 0x222
  mov qword [window_pt + 257 * 8], kFirst + PTE_P + PTE_W
  OTHER_RUNS PAGE(1), 0
  dec ebp
  jnz .mappings

  ; jmp to itself: EB FE becomes EB 00, which goes on behind it.
  mov ebp, 8
.spin:
  mov byte [spinning + 1], 0xfe
  mov qword [entered], 0
  mov qword [target], spin_once
  inc qword [asked]
  APIC_WRITE APIC_ICR, 0xc4052
.not_yet:
  call sleep
  cmp qword [entered], 1
  jne .not_yet
  call short_delay
  mov rax, [asked]
  dec rax
  CHECK_EQ [answered], rax        ; it spins
  mov byte [spinning + 1], 0
  call wait_for_answer
  dec ebp
  jnz .spin
  ret

short_delay:
  mov ecx, 200
.again:
  in al, 0x80
  dec ecx
  jnz .again
  ret

let_run:
  inc qword [asked]
  APIC_WRITE APIC_ICR, 0xc4052
wait_for_answer:
  call sleep
  mov rax, [asked]
  cmp [answered], rax
  jne wait_for_answer
  ret
; Until an interrupt has come since the last time.
sleep:
  cmp qword [woken], 0
  jne .done
  sti
.hlt:
  hlt
  cli
  jmp sleep
.done:
  mov qword [woken], 0
  ret
on_answer:
  STEP_OVER_HLT sleep.hlt
  mov qword [woken], 1
  call apic_eoi
  iretq

align 4096
ap_main:
  SET_GATE 0x52, on_request, 0, 0x8e
  SET_GATE 0x53, on_answer, 0, 0x8e
  sti
.idle:
  hlt
  jmp .idle
on_request:
  mov rbx, PAGE(1)
  invlpg [rbx]
  xor eax, eax
  cpuid                         ; serialises
  call [target]
  mov [ran], rax
  inc qword [answered]
  call apic_eoi
  APIC_WRITE APIC_ICR, 0xc4053
  iretq
beside:
  mov eax, 0x11223344
  ret
spin_once:
  mov qword [entered], 1
  APIC_WRITE APIC_ICR, 0xc4053
spinning:
  jmp short spinning
  ret

section .data
source:
  mov eax, 0
  ret
section .bss
alignb 8
target: resq 1
asked: resq 1
answered: resq 1
ran: resq 1
entered: resq 1
woken: resq 1
