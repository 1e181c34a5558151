; A floppy disk of SECTORS sectors a track for the BIOS to boot. Prints the text of the second sector, writes SECTORS sectors of
; the last cylinder, across its heads, reads them back, and powers off.
bits 16
org 0x7c00
%ifndef SECTORS
%define SECTORS 18
%endif

  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 0x7c00
  cld
  mov [drive], dl
  add dl, '0'
  mov [greeting_drive], dl
  mov si, greeting
  call print

  mov ax, 0x0201              ; read the sector after this one
  mov cx, 2
  mov dh, 0
  mov bx, text
  call disk
  mov si, text
  call print

  ; Across both heads of the last cylinder: SECTORS sectors from the first head's second one on.
  mov di, buffer
  mov cx, SECTORS * 256
  mov ax, 0x1234
fill:
  stosw
  add ax, 0x0777
  loop fill
  mov ax, 0x0300 + SECTORS - 1
  mov cx, 0x4f02
  mov dh, 0
  mov bx, buffer
  call disk
  mov ax, 0x0301
  mov cx, 0x4f01
  mov dh, 1
  mov bx, buffer + (SECTORS - 1) * 512
  call disk
  mov di, buffer              ; forgotten, and read back
  mov cx, SECTORS * 256
  xor ax, ax
  rep stosw
  mov ax, 0x0200 + SECTORS - 1
  mov cx, 0x4f02
  mov dh, 0
  mov bx, buffer
  call disk
  mov ax, 0x0201
  mov cx, 0x4f01
  mov dh, 1
  mov bx, buffer + (SECTORS - 1) * 512
  call disk
  mov si, buffer
  mov cx, SECTORS * 256
  mov dx, 0x1234
compare:
  lodsw
  cmp ax, dx
  jne wrong
  add dx, 0x0777
  loop compare
  mov si, written
  call print
  jmp power_off

wrong:
  mov si, differs
  call print
  jmp power_off

disk:
  mov dl, [drive]
  jmp call_disk

%include "bios.inc"

drive: db 0
greeting: db "booted from drive "
greeting_drive: db "?", 13, 10, 0
differs: db "it differs", 13, 10, 0
written: db "written and read back", 13, 10, 0

  times 510 - ($ - $$) db 0
  dw 0xaa55

text:
  db "read from the floppy disk", 13, 10, 0
  times 1024 - ($ - $$) db 0
buffer:
