; A disk for the BIOS to boot that waits for keys (the BIOS takes those of the serial port for some): 'q' powers off, any
; other is shown.
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
  mov [key], al
  mov si, key
  call print
  jmp next

%include "bios.inc"

ready: db "ready", 13, 10, 0
key: db 0, 13, 10, 0

  times 510 - ($ - $$) db 0
  dw 0xaa55
