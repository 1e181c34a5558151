; I/O in ring 3: IOPL, then the TSS's bitmap for every byte of the port range; a bitmap beyond the TSS's limit closes
; everything; CLI, STI, POPF and IRET by IOPL. SDM vol. 1 §18.5.
; expect: pass
%include "long.inc"

%macro USER_CASE 1
  TRY
  ENTER_USER %1
%endmacro

main:
  USER_CASE user_out            ; bitmap all ones
  CATCH GP, 0
  ; Open 0x80 alone: bytes pass, words do not.
  and byte [tss + 104 + 0x80 / 8], 0xfe
  USER_CASE user_out
  CATCH UD, 0
  USER_CASE user_out_word
  CATCH GP, 0
  and byte [tss + 104 + 0x80 / 8], 0xfc
  USER_CASE user_out_word
  CATCH UD, 0
  ; A range that crosses a byte of the bitmap: ports 0x87 and 0x88.
  and byte [tss + 104 + 0x80 / 8], 0x7f
  USER_CASE user_out_crossing
  CATCH GP, 0
  and byte [tss + 104 + 0x88 / 8], 0xfe
  USER_CASE user_out_crossing
  CATCH UD, 0
  USER_CASE user_outs
  CATCH UD, 0
  ; The last byte of the bitmap: two bytes are always read.
  and byte [tss + 104 + 8191], 0
  USER_CASE user_in_last
  CATCH UD, 0
  ; No bitmap: its base lies beyond the limit.
  mov word [tss + 0x66], kTssLimit + 1
  USER_CASE user_out
  CATCH GP, 0
  ; A limit that cuts the bitmap off behind port 0x7f's byte.
  mov word [tss + 0x66], 104
  mov word [gdt + kTss], 104 + 0x10
  mov byte [gdt + kTss + 5], 0x89
  mov ax, kTss
  ltr ax
  USER_CASE user_out
  CATCH GP, 0
  mov word [gdt + kTss], 104 + 0x11
  mov byte [gdt + kTss + 5], 0x89
  mov ax, kTss
  ltr ax
  USER_CASE user_out
  CATCH UD, 0
  mov word [gdt + kTss], kTssLimit
  mov byte [gdt + kTss + 5], 0x89
  mov ax, kTss
  ltr ax
  mov word [tss + 0x66], 0xffff
  ; Interrupt flag.
  USER_CASE user_cli
  CATCH GP, 0
  USER_CASE user_popf           ; silently without effect
  CATCH UD, 0
  mov rax, [trap.rflags]
  and eax, FL_IF | 0x3000
  CHECK_EQ rax, 0
  ; IOPL 3 opens all of it.
  push 0x3002
  popfq
  USER_CASE user_out
  CATCH UD, 0
  push 0x3002
  popfq
  USER_CASE user_cli
  CATCH UD, 0
  push 0x3002
  popfq
  USER_CASE user_popf
  CATCH UD, 0
  mov rax, [trap.rflags]
  and eax, FL_IF | 0x3000
  CHECK_EQ rax, FL_IF | 0x3000
  ; IOPL 2 does not.
  push 0x2002
  popfq
  USER_CASE user_out
  CATCH GP, 0
  ret

user_out:
  out 0x80, al
  ud2
user_out_word:
  out 0x80, ax
  ud2
user_out_crossing:
  mov edx, 0x87
  out dx, ax
  ud2
user_outs:
  mov edx, 0x80
  mov rsi, USER(user_outs)
  mov ecx, 3
  rep outsb
  ud2
user_in_last:
  mov edx, 0xffff
  in al, dx
  ud2
user_cli:
  cli
  ud2
user_popf:
  push FL_IF | 2
  popfq
  ud2
