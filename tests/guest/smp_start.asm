; INIT and SIPI start every other processor in real mode at the vector's page; IPIs by physical id, by shorthand and in
; logical mode reach whom they must; an NMI IPI comes through a closed IF; INIT resets a running processor.
; SDM vol. 3A §9.4, §11.6.
; expect: pass
; cpus: 4
%include "long.inc"
%include "apic.inc"
%include "smp.inc"

main:
  SET_GATE 0x51, on_ipi, 0, 0x8e
  SET_GATE NMI, on_nmi, 0, 0x8e
  mov edi, 3
  call start_aps
  CHECK_EQ [ap_count], 3
  ; All ids differ: 4 bits set.
  mov eax, 1
  APIC_READ ecx, APIC_ID
  shr ecx, 24
  shl eax, cl
  lock or [ids], eax
.ids:                           ; each sets its bit after it was counted
  pause
  cmp dword [ids], 15
  jne .ids
  ; All but self.
  APIC_WRITE APIC_ICR, 0xc4051
  mov rbx, 3
  call wait_for_ipis
  ; All with self.
  sti
  APIC_WRITE APIC_ICR, 0x84051
  mov rbx, 7
  call wait_for_ipis
  cli
  ; One by its id.
  mov qword [last_id], -1
  APIC_WRITE APIC_ICR_HIGH, 2 << 24
  APIC_WRITE APIC_ICR, 0x4051
  mov rbx, 8
  call wait_for_ipis
  CHECK_EQ [last_id], 2
  ; In logical mode, flat: each has set bit id of its logical destination register; to ids 1 and 3.
  APIC_WRITE APIC_ICR_HIGH, 0x0a << 24
  APIC_WRITE APIC_ICR, 0x4851
  mov rbx, 10
  call wait_for_ipis
  ; NMI to 1, which sits with IF clear.
  mov qword [close_if], 1
  APIC_WRITE APIC_ICR_HIGH, 1 << 24
  APIC_WRITE APIC_ICR, 0x4051   ; tells it to close
.closed:
  pause
  cmp qword [is_closed], 1
  jne .closed
  APIC_WRITE APIC_ICR, 0x4400
.nmi:
  pause
  cmp qword [nmis], 1
  jne .nmi
  CHECK_EQ [nmi_id], 1
  ; INIT and SIPI again for 1: it arrives once more.
  mov qword [close_if], 0
  APIC_WRITE APIC_ICR, 0x4500
  call short_wait
  APIC_WRITE APIC_ICR, 0x4600 | (kTrampoline >> 12)
.again:
  pause
  cmp qword [ap_count], 4
  jne .again
  ret

wait_for_ipis:
  pause
  cmp [ipis], rbx
  jb wait_for_ipis
  call short_wait               ; and no more than that
  CHECK_EQ [ipis], rbx
  ret

ap_main:
  APIC_READ ecx, APIC_ID
  shr ecx, 24
  mov eax, 1
  shl eax, cl
  lock or [ids], eax
  shl eax, 24
  APIC_WRITE kApic + 0xe0, 0xffffffff
  APIC_WRITE kApic + 0xd0, eax
.idle:
  cli
  cmp qword [close_if], 1
  je .close
  sti
.hlt:
  hlt
  jmp .idle
.close:
  cli
  mov qword [is_closed], 1
.spin:
  pause
  jmp .spin

on_ipi:
  STEP_OVER_HLT ap_main.hlt
  push rax
  push r13
  APIC_READ eax, APIC_ID
  shr eax, 24
  mov [last_id], rax
  call apic_eoi
  lock inc qword [ipis]
  pop r13
  pop rax
  iretq

on_nmi:
  push rax
  push r13
  APIC_READ eax, APIC_ID
  shr eax, 24
  mov [nmi_id], rax
  lock inc qword [nmis]
  pop r13
  pop rax
  iretq

section .bss
alignb 8
ids: resq 1
ipis: resq 1
last_id: resq 1
nmis: resq 1
nmi_id: resq 1
close_if: resq 1
is_closed: resq 1
