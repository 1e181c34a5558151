; A jump's target faults, and the handler, whose CS is not flat, lets it run from another address space. Back in the first,
; the jump leads to what is mapped there.
; expect: pass
%include "protected.inc"
kP1 equ 0x300000
kP2 equ 0x301000
kP3 equ 0x302000
kPd1 equ 0x303000
kPd2 equ 0x304000
kPt1 equ 0x305000
kPt2 equ 0x306000
main:
  cld
  mov edi, kP1
  mov ecx, 0x7000/4
  xor eax, eax
  rep stosd
  mov dword [kPd1], 0x83
  mov dword [kPd2], 0x83
  mov dword [kPd1+4], kPt1+3
  mov dword [kPd2+4], kPt2+3
  mov dword [kPt1], kP1+3
  mov dword [kPt2], kP2+3
  mov byte [kP1], 0xe9
  mov dword [kP1+1], 0xffd-5
  mov byte [kP1+0xffd], 0xbb
  mov byte [kP1+0xffe], 0x11
  mov dword [kP3+2], 0x900000c3   ; ffd: bb 11 00 | 00 00 c3
  mov byte [kP2+0xffd], 0xb3
  mov byte [kP2+0xffe], 0x02
  mov byte [kP2+0xfff], 0xc3
  SET_DESCRIPTOR 0x58, 0, 0xffffe, 0xc09b
  SET_GATE 14, 0x58, handler, 0x8e
  mov eax, cr4
  or eax, 0x10
  mov cr4, eax
  mov eax, kPd1
  mov cr3, eax
  mov eax, cr0
  bts eax, 31
  mov cr0, eax
  xor ebx, ebx
  mov eax, 0x400000
  call eax
  CHECK_EQ ebx, 2
  mov dword [kPt1+4], kP3+3
  mov eax, kPd1
  mov cr3, eax
  xor ebx, ebx
  mov eax, 0x400000
  call eax
  CHECK_EQ ebx, 0x11
  ret
handler:
  push eax
  mov eax, kPd2
  mov cr3, eax
  pop eax
  add esp, 4
  iretd
