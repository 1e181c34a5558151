; The local APIC's page hides RAM wherever IA32_APIC_BASE puts it, also within a large page whose other pages were
; just accessed (SDM vol. 3A 11.4.1); moved away again, the RAM is as it was.
; expect: pass
%include "long.inc"
%include "apic.inc"

main:
  mov rbx, 0x600000
  mov ecx, 65536/4
  mov eax, 0x12345678
  mov rdi, rbx
  rep stosd
  mov rax, [rbx+0x30]           ; cached as RAM
  WRMSR64 MSR_APIC_BASE, 0x600900
  xor ebp, ebp
.loop:
  mov rsi, 0x601000
  mov eax, [rsi]                ; neighbour
  mov rsi, 0x608000
  mov eax, [rsi]
  mov rsi, 0x600030
  mov eax, [rsi]                ; APIC version
  and eax, 0xff
  cmp eax, 0x14
  je .ok
  CHECK_EQ rax, 0x14
.ok:
  inc ebp
  cmp ebp, 1000
  jb .loop
  WRMSR64 MSR_APIC_BASE, 0xfee00900
  mov rsi, 0x600030
  mov eax, [rsi]
  CHECK_EQ rax, 0x12345678
  ret
