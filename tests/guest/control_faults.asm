; What control registers, MSRs and their kin refuse: reserved bits, combinations that are not allowed, registers that
; are not there, non-canonical addresses, and everything privileged in ring 3; UMIP. SDM vol. 3A §2.5, vol. 2.
; expect: pass
%include "long.inc"

%define PRIVILEGED PRIVILEGED_AT __?LINE?__,
%macro PRIVILEGED_AT 2+
  jmp %%over
%%user:
  %2
  ud2
%%over:
  TRY
  ENTER_USER %%user
  CATCH_AT %1, GP, 0
%endmacro
%define REFUSED_MSR REFUSED_MSR_AT __?LINE?__,
%macro REFUSED_MSR_AT 3
  TRY
  WRMSR64 %2, %3
  CATCH_AT %1, GP, 0
%endmacro

main:
  ; CR0
  TRY
  mov rax, cr0
  and eax, ~CR0_PE
  mov cr0, rax                  ; paging without protection
  CATCH GP, 0
  TRY
  mov rax, cr0
  or eax, 1 << 29               ; NW without CD
  and eax, ~(1 << 30)
  mov cr0, rax
  CATCH GP, 0
  TRY
  mov rax, cr0
  bts rax, 32
  mov cr0, rax
  CATCH GP, 0
  ; CR4: a bit that nobody has, and one of the upper half.
  TRY
  mov rax, cr4
  bts rax, 31
  mov cr4, rax
  CATCH GP, 0
  TRY
  mov rax, cr4
  bts rax, 32
  mov cr4, rax
  CATCH GP, 0
  ; CR3: bits above the physical address.
  TRY
  mov rax, pml4
  bts rax, 52
  mov cr3, rax
  CATCH GP, 0
  ; CR8 has four bits.
  TRY
  mov eax, 16
  mov cr8, rax
  CATCH GP, 0
  mov eax, 9
  mov cr8, rax
  xor eax, eax
  mov rax, cr8
  CHECK_EQ rax, 9
  xor eax, eax
  mov cr8, rax
  ; CR1, CR5, CR7 do not exist.
  TRY
  db 0x0f, 0x22, 0xe8           ; mov cr5, rax
  CATCH UD, 0
  TRY
  db 0x0f, 0x20, 0xf8           ; mov rax, cr7
  CATCH UD, 0
  ; EFER: reserved bits; LME while paging is on.
  REFUSED_MSR MSR_EFER, 0xd01 | 2
  TRY
  mov ecx, MSR_EFER
  rdmsr
  and eax, ~0x100
  wrmsr
  CATCH GP, 0
  mov ecx, MSR_EFER
  rdmsr
  CHECK_EQ rax, 0xd01
  ; MSRs
  TRY
  mov ecx, 0x12345678
  rdmsr
  CATCH GP, 0
  REFUSED_MSR 0x12345678, 0
  REFUSED_MSR MSR_FS_BASE, 0x800000000000
  REFUSED_MSR MSR_GS_BASE, 0xf000000000000000
  REFUSED_MSR MSR_KERNEL_GS_BASE, 0x800000000000
  REFUSED_MSR MSR_SYSENTER_EIP, 0x800000000000
  REFUSED_MSR 0x277, 2          ; PAT: type 2 is reserved
  REFUSED_MSR MSR_APIC_BASE, 0xfee00000 | 1 << 52
  ; The upper half of ECX plays no part; that of EDX:EAX's registers neither.
  mov rcx, 0xffffffff00000000 + MSR_FS_BASE
  mov rax, 0xaaaaaaaa00001000
  mov rdx, 0xbbbbbbbb00000000
  wrmsr
  rdmsr
  CHECK_EQ rax, 0x1000          ; zero-extended
  CHECK_EQ rdx, 0
  ; Descriptor tables: non-canonical bases.
  TRY
  lgdt [bad_table]
  CATCH GP, 0
  TRY
  lidt [bad_table]
  CATCH GP, 0
  ; LTR and LLDT.
  TRY
  xor eax, eax
  ltr ax
  CATCH GP, 0
  TRY
  mov eax, kData
  ltr ax
  CATCH GP, kData
  TRY
  mov eax, kTss                 ; busy already
  ltr ax
  CATCH GP, kTss
  TRY
  mov eax, kData
  lldt ax
  CATCH GP, kData
  xor eax, eax
  lldt ax
  TRY
  mov eax, 0xc                  ; in the LDT, of which there is none
  mov ds, ax
  CATCH GP, 0xc
  ; Segment registers.
  TRY
  mov eax, 0x800
  mov ds, ax
  CATCH GP, 0x800
  TRY
  mov eax, kTss
  mov es, ax
  CATCH GP, kTss
  mov qword [gdt + kFirstFree], 0
  mov byte [gdt + kFirstFree + 5], 0x13 ; data, not present
  TRY
  mov eax, kFirstFree
  mov fs, ax
  CATCH NP, kFirstFree
  TRY
  mov eax, kFirstFree
  mov ss, ax
  CATCH SS_, kFirstFree
  TRY
  mov eax, kUserData
  mov ss, ax
  CATCH GP, kUserData & ~3
  TRY
  mov eax, kCode64
  mov ss, ax
  CATCH GP, kCode64
  xor eax, eax
  mov ss, ax                    ; null is good in ring 0 of 64-bit mode
  push rax
  pop rax
  mov eax, kData
  mov ss, ax
  ; XSETBV without OSXSAVE.
  TRY
  xor ecx, ecx
  xgetbv
  CATCH UD, 0

  ; Ring 3.
  PRIVILEGED hlt
  PRIVILEGED mov rax, cr0
  PRIVILEGED mov cr3, rax
  PRIVILEGED mov rax, cr8
  PRIVILEGED clts
  PRIVILEGED lmsw ax
  PRIVILEGED lgdt [rax]
  PRIVILEGED lidt [rax]
  PRIVILEGED lldt ax
  PRIVILEGED ltr ax
  PRIVILEGED invd
  PRIVILEGED wbinvd
  PRIVILEGED invlpg [rax]
  PRIVILEGED rdmsr
  PRIVILEGED wrmsr
  PRIVILEGED mov dr0, rax
  PRIVILEGED swapgs
  PRIVILEGED cli
  PRIVILEGED in al, 0x60
  ; TSD closes RDTSC, PCE clear closes RDPMC.
  mov rax, cr4
  or eax, CR4_TSD
  mov cr4, rax
  PRIVILEGED rdtsc
  PRIVILEGED rdpmc
  rdtsc
  mov rax, cr4
  and eax, ~CR4_TSD
  mov cr4, rax
  ; UMIP, where there is.
  mov eax, 7
  xor ecx, ecx
  cpuid
  bt ecx, 2
  jnc .no_umip
  mov rax, cr4
  or eax, CR4_UMIP
  mov cr4, rax
  PRIVILEGED sgdt [rsp - 64]
  PRIVILEGED sidt [rsp - 64]
  PRIVILEGED sldt ax
  PRIVILEGED str ax
  PRIVILEGED smsw ax
  sgdt [kScratch]               ; ring 0 is free to
  smsw ax
  mov rax, cr4
  and eax, ~CR4_UMIP
  mov cr4, rax
.no_umip:
  TRY
  ENTER_USER user_stores
  CATCH UD, 0
  ret

user_stores:
  sgdt [rsp - 64]
  sidt [rsp - 64]
  sldt ax
  str ax
  smsw ax
  ud2

section .data
bad_table:
  dw 0xffff
  dq 0x800000000000
