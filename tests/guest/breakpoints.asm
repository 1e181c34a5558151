; Hardware breakpoints: on execution (a fault before the instruction, which RF lets pass), on writes and accesses of 1
; to 8 bytes (traps after it) with DR6's bits, on I/O with CR4.DE, global and local enables, DR7.GD, and the MOV DR
; rules. SDM vol. 3B §17.2.
; expect: pass
%include "long.inc"

%macro CLEAR_DR6 0
  mov eax, 0xffff0ff0
  mov dr6, rax
%endmacro
%define CHECK_DR6 CHECK_DR6_AT __?LINE?__,
%macro CHECK_DR6_AT 2
  mov rax, dr6
  CHECK_AT %1, rax, 0xffff0ff0 | %2
%endmacro
%macro SET_DR7 1
  mov eax, 0x400 | %1
  mov dr7, rax
%endmacro

main:
  ; On execution.
  mov rax, .target
  mov dr0, rax
  SET_DR7 1
  CLEAR_DR6
  TRY
  nop
.target:
  nop
  CATCH DB_, 0
  mov rax, .target
  CHECK_EQ [trap.rip], rax
  CHECK_DR6 1
  mov rax, [trap.rflags]
  and eax, FL_RF
  CHECK_EQ rax, 0               ; alone among faults, this one saves RF as 0
  ; With RF in the returned flags it passes; RF is then gone, so the second time it hits.
  mov qword [hits], 0
  SET_GATE DB_, on_debug, 0, 0x8e
  CLEAR_DR6
  mov rax, .loop
  mov dr0, rax
  mov ecx, 3
.loop:
  nop
  dec ecx
  jnz .loop
  CHECK_EQ [hits], 3
  ; Disabled: nothing.
  SET_DR7 0
  mov ecx, 1
  jmp .loop2
.loop2:
  nop
  CHECK_EQ [hits], 3
  ; On writes of 4 bytes, DR1; reads do not count.
  mov rax, kScratch + 0x100
  mov dr1, rax
  SET_DR7 (4 | 0x00d00000)
  CLEAR_DR6
  mov qword [hits], 0
  mov eax, [kScratch + 0x100]
  CHECK_EQ [hits], 0
  mov [kScratch + 0x100], eax
  CHECK_EQ [hits], 1
  CHECK_DR6 2
  mov byte [kScratch + 0x103], 1
  CHECK_EQ [hits], 2
  mov byte [kScratch + 0x104], 1
  CHECK_EQ [hits], 2
  mov [kScratch + 0xfd], eax    ; overlaps by one byte
  CHECK_EQ [hits], 3
  add dword [kScratch + 0x100], 1
  CHECK_EQ [hits], 4
  ; The trap comes after the instruction.
  mov qword [last_rip], 0
  mov byte [kScratch + 0x100], 1
.after:
  mov rax, .after
  CHECK_EQ [last_rip], rax
  ; On any access of 8 bytes, DR2.
  mov rax, kScratch + 0x200
  mov dr2, rax
  SET_DR7 (0x10 | 0x0b000000)
  CLEAR_DR6
  mov qword [hits], 0
  mov al, [kScratch + 0x207]
  CHECK_EQ [hits], 1
  CHECK_DR6 4
  mov rsi, kScratch + 0x1f8
  mov ecx, 16
  cld
  rep lodsb                     ; once for every byte within: bytes 8..15
  CHECK_EQ [hits], 9
  ; On I/O, DR3, only with CR4.DE, which the tests set.
  mov eax, 0x80
  mov dr3, rax
  SET_DR7 (0x40 | 0x20000000)
  CLEAR_DR6
  mov qword [hits], 0
  out 0x80, al
  CHECK_EQ [hits], 1
  CHECK_DR6 8
  in al, 0x81
  CHECK_EQ [hits], 1
  ; GD: any access to a debug register is a #DB fault with BD, and GD is cleared for the handler.
  SET_GATE DB_, stubs + DB_ * kStubSize, 0, 0x8e
  CLEAR_DR6
  SET_DR7 0x2000
  TRY
.gd:
  mov rax, dr0
  CATCH DB_, 0
  mov rax, .gd
  CHECK_EQ [trap.rip], rax
  CHECK_DR6 0x2000
  mov rax, dr7
  CHECK_EQ rax, 0x400
  ; DR4 and DR5 are DR6 and DR7 without CR4.DE, invalid with it; the upper halves of DR6 and DR7 must be 0.
  TRY
  mov rax, dr4
  CATCH UD, 0
  TRY
  mov rax, 1 << 32
  mov dr7, rax
  CATCH GP, 0
  TRY
  mov rax, 1 << 32
  mov dr6, rax
  CATCH GP, 0
  mov rax, cr4
  and eax, ~CR4_DE
  mov cr4, rax
  CLEAR_DR6
  mov rax, dr4
  CHECK_EQ rax, 0xffff0ff0
  mov rax, dr5
  CHECK_EQ rax, 0x400
  TRY
  ENTER_USER user
  CATCH GP, 0
  ret

on_debug:
  inc qword [hits]
  push rax
  mov rax, [rsp + 8]
  mov [last_rip], rax
  pop rax
  or qword [rsp + 16], FL_RF    ; as an instruction breakpoint's handler must
  iretq

user:
  mov rax, dr0
  hlt

section .bss
alignb 8
hits: resq 1
last_rip: resq 1
