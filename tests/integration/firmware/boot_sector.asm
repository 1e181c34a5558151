; A disk of two sectors for the BIOS to boot. Sector 1 holds a text; the boot sector prints it. Is it the first one, it
; writes the second in its place and resets the machine; else it powers off.
bits 16
org 0x7c00

  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7c00
  cld

  mov ah, 0x42                ; extended read
  call disk
  mov si, text
  call print
  cmp byte [text], '1'
  jne power_off

  mov si, second
  mov di, text
  mov cx, second_end - second
  push ds
  pop es
  rep movsb
  mov ax, 0x4300              ; extended write
  call disk
  mov dx, 0xcf9
  mov al, 0x02
  out dx, al
  mov al, 0x06
  out dx, al
  hlt

disk:
  mov si, packet
  jmp call_disk               ; DL is the drive that was booted

%include "bios.inc"

align 4
packet:
  db 16, 0
  dw 1, text, 0               ; one sector, to 0:text
  dq 1
second: db "2: after the reset", 13, 10, 0
second_end:

  times 510 - ($ - $$) db 0
  dw 0xaa55

text:
  db "1: read from the disk", 13, 10, 0
  times 1024 - ($ - $$) db 0
