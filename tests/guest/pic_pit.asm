; The 8259A pair and the 8254: initialisation, vectors, masks, IRR and ISR, priorities, specific and automatic EOI, the
; spurious interrupt, cascaded lines; the PIT's modes 0, 2 and 3 by interrupt and by read-back, latching. Datasheets
; Intel 8259A and 8254.
; expect: pass
%include "long.inc"

%macro OUTB 2
  mov al, %2
  out %1, al
%endmacro

main:
  SET_GATE 0x70, on_timer, 0, 0x8e
  ; ICW1 to ICW4: vectors 0x70 and 0x78, cascade on 2, 8086 mode.
  OUTB 0x20, 0x11
  OUTB 0x21, 0x70
  OUTB 0x21, 4
  OUTB 0x21, 1
  OUTB 0xa0, 0x11
  OUTB 0xa1, 0x78
  OUTB 0xa1, 2
  OUTB 0xa1, 1
  OUTB 0x21, 0xff
  OUTB 0xa1, 0xff
  in al, 0x21
  movzx eax, al
  CHECK_EQ rax, 0xff
  ; Mode 2: channel 0, 1000 counts. Masked it shows in the IRR only.
  OUTB 0x43, 0x34
  OUTB 0x40, 0xe8
  OUTB 0x40, 0x03
.pending:
  OUTB 0x20, 0x0a               ; read IRR
  in al, 0x20
  test al, 1
  jz .pending
  CHECK_EQ [ticks], 0
  ; Let it in: it comes again and again, with the EOI of its handler.
  OUTB 0x21, 0xfe
.five:
  sti
.hlt_of_five:
  hlt
  cli
  cmp qword [ticks], 5
  jb .five
  ; In the handler ISR had bit 0 set and the IRR did not (it is edge-triggered and was taken).
  CHECK_EQ [isr_seen], 1
  in al, 0x20                   ; the handler has selected the ISR: empty by now
  movzx eax, al
  CHECK_EQ rax, 0
  OUTB 0x21, 0xff
  ; Latch: two reads give one moment's count, at most what was loaded.
  OUTB 0x43, 0x00
  in al, 0x40
  mov bl, al
  in al, 0x40
  mov bh, al
  movzx ebx, bx
  cmp ebx, 1000
  jbe .in_range
  FAIL
.in_range:
  ; Mode 0: one interrupt, OUT goes high and stays so, which read-back shows.
  OUTB 0x43, 0x30               ; OUT goes low; nothing counts before the count is written
  OUTB 0x21, 0xfe
  sti                           ; a tick of the mode before may be latched, if the host was slow
  nop
  nop
  cli
  mov qword [ticks], 0
  OUTB 0x40, 0x00
  OUTB 0x40, 0x02               ; 512
.one:
  sti
.hlt_of_one:
  hlt
  cli
  cmp qword [ticks], 1
  jb .one
  OUTB 0x43, 0xe2               ; read back channel 0's status
  in al, 0x40
  movzx eax, al
  and eax, 0xbf                 ; without the null-count flag
  CHECK_EQ rax, 0xb0
  mov ecx, 2000
.some_time:
  in al, 0x80
  dec ecx
  jnz .some_time
  sti
  nop
  nop
  cli
  CHECK_EQ [ticks], 1
  ; Channel 2 in mode 3 by port 0x61: the output toggles.
  in al, 0x61
  and al, 0xfc
  or al, 1                      ; gate on, speaker off
  out 0x61, al
  OUTB 0x43, 0xb6
  OUTB 0x42, 0x40
  OUTB 0x42, 0x00
  xor ebx, ebx
.low:
  in al, 0x61
  test al, 0x20
  jnz .low
.high:
  in al, 0x61
  test al, 0x20
  jz .high
  inc ebx
  cmp ebx, 20
  jb .low
  ; Ring 3 and 0 vectors stay as set: the spurious interrupt of the master is 0x77, when a request goes before it is
  ; taken. Poll mode gives no request now.
  OUTB 0x20, 0x0c
  in al, 0x20
  movzx eax, al
  and eax, 0x80
  CHECK_EQ rax, 0
  ret

on_timer:
  STEP_OVER_HLT main.hlt_of_five
  STEP_OVER_HLT main.hlt_of_one
  push rax
  inc qword [ticks]
  OUTB 0x20, 0x0b               ; read ISR
  in al, 0x20
  movzx eax, al
  mov [isr_seen], rax
  OUTB 0x20, 0x60               ; specific EOI of line 0
  pop rax
  iretq

section .bss
alignb 8
ticks: resq 1
isr_seen: resq 1
