; The end of 32-bit linear addresses: in compatibility mode they have 32 bits (SDM vol. 1 §3.3.7.1, vol. 3A §3.3.1), so
; an instruction that begins below 4 GiB goes on at 0, and so does what follows one that ends there. In 64-bit mode the
; same bytes run into 0x100000000. (With an effective limit of 4 GiB - 1 an access over the end "may or may not" be a
; limit violation, §5.3: here, as on both judges, it is none.)
; expect: pass
%include "long.inc"

kEnd equ 0x800000               ; what is mapped as the last 2 MiB below 4 GiB

main:
  mov qword [pd + 2047 * 8], kEnd + PTE_P + PTE_W + PTE_PS
  mov rax, cr3
  mov cr3, rax
  mov rsi, 0                    ; what firmware has at 0 comes back
  mov rdi, saved
  mov ecx, 4
  rep movsq
  call instruction_across
  call instruction_before
  call jump_across
  call long_mode
  mov rsi, saved
  mov rdi, 0
  mov ecx, 4
  rep movsq
  ret

; Runs 32-bit code at ebx; it comes back by a far jump to .back.
run32:
  mov [target], ebx
  mov word [target + 4], kCode32
  jmp far dword [target]
back:
  ret

; Puts rcx bytes from rsi at linear address ebx, over the end.
put:
  mov edi, ebx
.byte:
  mov al, [rsi]
  mov [rdi], al
  inc rsi
  inc edi                       ; wraps
  loop .byte
  ret

instruction_across:
  mov ebx, 0xfffffffc           ; four of its five bytes before the end, down to one
.next:
  mov rsi, move
  mov ecx, move_end - move
  call put
  xor eax, eax
  call run32
  CHECK_EQ rax, 0x87654321
  inc ebx
  jnz .next
  ret

instruction_before:
  mov ebx, 0xfffffffb
  mov rsi, move
  mov ecx, move_end - move
  call put
  xor eax, eax
  call run32
  CHECK_EQ rax, 0x87654321
  ; Changed in its second half, and in its first.
  mov ebx, 0xfffffffd
  mov rsi, move
  mov ecx, move_end - move
  call put
  call run32
  mov byte [1], 0x99
  call run32
  CHECK_EQ rax, 0x99654321
  mov edi, 0xfffffffe
  mov byte [rdi], 0x11
  call run32
  CHECK_EQ rax, 0x99654311
  ret

; A relative jump and a call whose bytes lie on both sides; the call's return address is a small one.
jump_across:
  mov ebx, 0xfffffffe
  mov rsi, call_over
  mov ecx, call_over_end - call_over
  call put
  xor eax, eax
  call run32
  CHECK_EQ rax, 3               ; 0xfffffffe + 5
  ret

long_mode:
  mov ebx, 0xfffffffd
  mov rsi, move
  mov ecx, move_end - move
  call put
  TRY
  call rbx
  CATCH PF, PF_I, 0x100000000
  ret

bits 32
move:
  mov eax, 0x87654321
  jmp kCode64:back
move_end:
call_over:
  call $ + 12                   ; to .pop
  jmp kCode64:back
.pop:
  pop eax
  jmp kCode64:back
call_over_end:
bits 64

section .bss
alignb 8
saved: resq 4
target: resq 1
