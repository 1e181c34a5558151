; Virtual-8086 mode: entered by IRET, left by faults and interrupts with the segment registers on ring 0's stack; the
; IOPL-sensitive instructions, I/O by the bitmap, addresses of 20 bits and their 64 KiB limit. SDM vol. 3A chapter 20.
; expect: pass
%include "protected.inc"

kRealBase equ 0x10000           ; where the 16-bit code runs: segment 0x1000

%macro ENTER_V86 1-2 0          ; label of 16-bit code, IOPL bits
  push dword 0x4000             ; GS
  push dword 0x3000             ; FS
  push dword 0x1000             ; DS
  push dword 0x2000             ; ES
  push dword 0x1000             ; SS
  push dword 0xfff0             ; ESP
  push dword FL_VM | (%2) | 2
  push dword 0x1000             ; CS
  push dword %1 - v86_code
  iretd
%endmacro

main:
  mov esi, v86_code
  mov edi, kRealBase
  mov ecx, v86_end - v86_code
  cld
  rep movsb
  ; HLT is privileged: #GP(0), with everything on the stack.
  TRY
  ENTER_V86 do_hlt
  CATCH GP, 0
  CHECK_EQ [trap.cs], 0x1000
  CHECK_EQ [trap.eip], do_hlt.hlt - v86_code
  CHECK_EQ [trap.ss], 0x1000
  CHECK_EQ [trap.old_esp], 0xfff0
  mov eax, [trap.eflags]
  and eax, FL_VM | 0x3000
  CHECK_EQ eax, FL_VM
  CHECK_EQ [stack0_top - 4], 0x4000   ; GS
  CHECK_EQ [stack0_top - 8], 0x3000
  CHECK_EQ [stack0_top - 12], 0x1000
  CHECK_EQ [stack0_top - 16], 0x2000
  CHECK_EQ [trap.handler_esp], stack0_top - 36 - 8 - 8
  CHECK_EQ ebx, 0x12345678      ; 32-bit registers work there
  xor eax, eax
  mov ax, fs
  CHECK_EQ eax, 0               ; null in the handler
  CHECK_EQ [kRealBase + 0x5000], 0xbeef
  CHECK_EQ [kRealBase + 0x14000 + 0x10], 0xcafe  ; ES 0x2000: 0x20000 + 0x4010
  ; Below IOPL 3: CLI, STI, PUSHF, POPF, INT n and IRET all fault; IN and OUT ask the bitmap only.
  %macro SENSITIVE_AT 2
    TRY
    ENTER_V86 %2
    CATCH_AT %1, GP, 0
    TRY
    ENTER_V86 %2, 0x3000
    CATCH_AT %1, UD, 0
  %endmacro
  %define SENSITIVE SENSITIVE_AT __?LINE?__,
  SENSITIVE do_cli
  SENSITIVE do_sti
  SENSITIVE do_pushf
  SENSITIVE do_popf
  SENSITIVE do_iret
  TRY
  ENTER_V86 do_out, 0x3000
  CATCH GP, 0
  and byte [tss + 104 + 0x80 / 8], 0xfe
  TRY
  ENTER_V86 do_out
  CATCH UD, 0
  ; INT n: #GP(0) below IOPL 3; at IOPL 3 through the IDT, whose gate's DPL must be 3.
  TRY
  ENTER_V86 do_int
  CATCH GP, 0
  TRY
  ENTER_V86 do_int, 0x3000
  CATCH GP, 0x40 * 8 + 2
  SET_GATE 0x40, kCode, stubs + 0x40 * kStubSize, 0xee
  TRY
  ENTER_V86 do_int, 0x3000
  CATCH 0x40, 0
  ; INT3 and exceptions are not sensitive to IOPL.
  SET_GATE BP_, kCode, stubs + BP_ * kStubSize, 0xee
  TRY
  ENTER_V86 do_int3
  CATCH BP_, 0
  TRY
  ENTER_V86 do_divide
  CATCH DE, 0
  ; POPF cannot change IOPL or VM; IF it can, at IOPL 3.
  TRY
  ENTER_V86 do_popf, 0x3000
  CATCH UD, 0
  mov eax, [trap.eflags]
  and eax, FL_VM | 0x3000 | FL_IF
  CHECK_EQ eax, FL_VM | 0x3000 | FL_IF
  ; Limits: 64 KiB, through the stack #SS.
  TRY
  ENTER_V86 do_beyond
  CATCH GP, 0
  TRY
  ENTER_V86 do_beyond_stack
  CATCH SS_, 0
  ; What only protected mode has is invalid.
  TRY
  ENTER_V86 do_lldt
  CATCH UD, 0
  TRY
  ENTER_V86 do_lgdt
  CATCH GP, 0
  TRY
  ENTER_V86 do_mov_cr
  CATCH GP, 0
  ; An interrupt's handler code segment must be of ring 0.
  SET_GATE 0x40, kUserCode & ~3, stubs + 0x40 * kStubSize, 0xee
  TRY
  ENTER_V86 do_int, 0x3000
  CATCH GP, kUserCode & ~3
  ret

bits 16
align 16
v86_code:
do_hlt:
  mov ebx, 0x12345678
  mov word [0x5000], 0xbeef
  mov word [0x5002], 0
  mov word [es:0x4010], 0xcafe
  mov word [es:0x4012], 0
  push ax
  pop ax
.hlt:
  hlt
do_cli:
  cli
  ud2
do_sti:
  sti
  cli
  ud2
do_pushf:
  pushf
  ud2
do_popf:
  push word FL_IF | 0x2
  popf
  ud2
do_iret:
  push word 2
  push cs
  push word do_ud - v86_code
  iret
do_ud:
  ud2
do_out:
  out 0x80, al
  ud2
do_int:
  int 0x40
  ud2
do_int3:
  int3
  ud2
do_divide:
  xor cl, cl
  div cl
  ud2
do_beyond:
  mov ax, [0xffff]
  ud2
do_beyond_stack:
  mov bp, 0xffff
  mov ax, [bp]
  ud2
do_lldt:
  lldt ax
do_lgdt:
  lgdt [0]
do_mov_cr:
  mov eax, cr0
v86_end:
bits 32
