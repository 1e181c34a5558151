; A disk for the BIOS to boot that waits for keys (the BIOS takes those of the serial port for some): 'q' powers off, 'r'
; resets, 'c' prints what the CD-ROM's first sector begins with or that it cannot be read, any other is printed.
bits 16
org 0x7c00

  xor ax, ax
  mov ds, ax
  mov ss, ax
  mov sp, 0x7c00
  cld
  mov si, ready
  call print

next:
  xor ah, ah
  int 0x16
  cmp al, 'q'
  je power_off
  cmp al, 'r'
  je reset
  cmp al, 'c'
  je cdrom
  mov [key], al
  mov si, key
  call print
  jmp next

cdrom:
  mov word [packet + 2], 1
  mov dl, 0xe0                ; the BIOS's number of the first CD-ROM drive
  mov ah, 0x42                ; extended read
  mov si, packet
  int 0x13
  mov si, text
  jnc show
  mov si, unreadable
show:
  call print
  jmp next

reset:
  mov dx, 0xcf9
  mov al, 0x02
  out dx, al
  mov al, 0x06
  out dx, al
  hlt

%include "bios.inc"

align 4
packet:
  db 16, 0
  dw 1, text, 0               ; one sector, to 0:text
  dq 0
ready: db "ready", 13, 10, 0
unreadable: db "unreadable", 13, 10, 0
key: db 0, 13, 10, 0

  times 510 - ($ - $$) db 0
  dw 0xaa55
text:
