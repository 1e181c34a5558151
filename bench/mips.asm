; The integer mix whose throughput bench/mips reports: loads and stores over 64 KiB, arithmetic, shifts, a multiplication,
; calls, a pushed and popped register and conditional jumps that the data decide, in 64-bit mode, ring 0, pages of 2 MiB.
; Both ways of every jump have as many instructions, so that a round always has kInstructions. `-DkRounds=N`.
%include "long.inc"

kInstructions equ 44            ; of one round, counted below; bench/mips reads this line

main:
  mov ebp, kRounds
  mov r8, kScratch
  mov eax, 12345
  xor ebx, ebx
  align 16
.round:
  imul eax, eax, 1103515245     ; 1
  add eax, 12345                ; 2
  mov ecx, eax                  ; 3
  shr ecx, 16                   ; 4
  movzx edx, cx                 ; 5
  mov esi, [r8 + rdx]           ; 6
  add esi, eax                  ; 7
  mov [r8 + rdx], esi           ; 8
  test eax, 0x10000             ; 9
  jz .even                      ; 10
  xor rbx, rsi                  ; 11
  rol rbx, 5                    ; 12
  jmp .joined                   ; 13
.even:
  add rbx, rsi                  ; 11
  ror rbx, 3                    ; 12
  nop                           ; 13
.joined:
  push rbx                      ; 14
  lea rdi, [rdx + rdx * 2 + 8]  ; 15
  call .callee                  ; 16, and 8 in there
  pop rcx                       ; 25
  cmp rcx, rbx                  ; 26
  sete dl                       ; 27
  movzx edx, dl                 ; 28
  add r9, rdx                   ; 29
  mov rcx, rbx                  ; 30
  shl rcx, 7                    ; 31
  xor rbx, rcx                  ; 32
  mov rcx, rbx                  ; 33
  shr rcx, 9                    ; 34
  xor rbx, rcx                  ; 35
  inc byte [r8 + 0x11]          ; 36
  mov r10, [r8 + 0x20]          ; 37
  add r10, rbx                  ; 38
  adc r11, 0                    ; 39
  mov [r8 + 0x20], r10          ; 40
  cmp r10, r11                  ; 41
  cmovb r11, r10                ; 42
  dec ebp                       ; 43
  jnz .round                    ; 44
  ret
  align 16
.callee:
  and edi, 0xfff8               ; 17
  mov r12, [r8 + rdi]           ; 18
  bswap r12                     ; 19
  add r12, rbx                  ; 20
  neg r12                       ; 21
  mov [r8 + rdi], r12           ; 22
  xor r9, r12                   ; 23
  ret                           ; 24
