; A page is taken away from another processor: after its INVLPG (asked for by an IPI) it must not see the old page. And
; code that one processor writes for another: after a serialising instruction it runs the new. SDM vol. 3A §4.10.5, §9.1.3.
; expect: pass
; cpus: 2
%include "long.inc"
%include "apic.inc"
%include "smp.inc"

main:
  SET_GATE 0x52, on_shootdown, 0, 0x8e
  mov byte [kScratch + 0x5000], 0xb8  ; mov eax, imm32; ret
  mov byte [kScratch + 0x5005], 0xc3
  mov edi, 1
  call start_aps
  mov rbp, 1
.round:
  ; The page moves to and fro; the pages hold their own numbers.
  mov rax, rbp
  and eax, 1
  shl eax, 12
  lea rcx, [rax + kScratch]
  mov [rcx], rbp
  or rcx, PTE_P | PTE_W
  mov [window_pt + 256 * 8], rcx
  mov [kScratch + 0x5001], ebp
  mov qword [done], 0
  APIC_WRITE APIC_ICR, 0xc4052
.wait:
  pause
  cmp qword [done], 1
  jne .wait
  CHECK_EQ [seen], rbp
  CHECK_EQ [ran], rbp
  inc rbp
  cmp rbp, 500
  jb .round
  ret

ap_main:
  sti
.idle:
  hlt
  jmp .idle

on_shootdown:
  mov rbx, PAGE(0)
  invlpg [rbx]
  mov rax, [rbx]
  mov [seen], rax
  xor eax, eax
  cpuid                         ; serialises
  mov rcx, kScratch + 0x5000
  call rcx
  mov [ran], rax
  call apic_eoi
  mov qword [done], 1
  iretq

section .bss
alignb 8
seen: resq 1
ran: resq 1
done: resq 1
