; 32-bit and PAE paging: rights of both levels, error codes without I/D where there is no NX, WP, PSE, reserved bits of
; PDPTEs (which fault on the load of CR3) and of entries, NX under PAE, PSE clear. SDM vol. 3A §4.3, §4.4.
; expect: pass
%include "protected.inc"

kPage equ 0x40000000            ; the address under test
USER_RW equ PTE_P | PTE_W | PTE_U

%macro FLUSH 0
  mov eax, cr3
  mov cr3, eax
%endmacro
; PDE and PTE bits, then what must happen
%macro ENTRIES 2
  mov dword [pd + 256 * 4], pt + (%1)
  mov dword [pt], kScratch + (%2)
  FLUSH
%endmacro

main:
  ; Identity by 4 MiB pages for both rings.
  xor ecx, ecx
.identity:
  mov eax, ecx
  shl eax, 22
  or eax, USER_RW | PTE_PS
  mov [pd + ecx * 4], eax
  inc ecx
  cmp ecx, 1024
  jb .identity
  mov eax, cr4
  or eax, CR4_PSE
  mov cr4, eax
  mov eax, pd
  mov cr3, eax
  mov eax, cr0
  or eax, CR0_PG | CR0_WP
  mov cr0, eax
  mov ebp, kPage
  ENTRIES USER_RW, USER_RW
  mov [ebp], eax
  mov eax, [pt]
  and eax, PTE_A | PTE_D
  CHECK_EQ eax, PTE_A | PTE_D
  mov eax, [pd + 256 * 4]
  and eax, PTE_A | PTE_D
  CHECK_EQ eax, PTE_A
  TRY
  ENTER_USER user_write
  CATCH UD, 0
  ; Each level, each right.
  %macro LEVELS_AT 4 ; line, PDE, PTE, error code of ring 3's write
    ENTRIES %2, %3
    TRY
    ENTER_USER user_write
    CATCH_AT %1, PF, %4, kPage
  %endmacro
  %define LEVELS LEVELS_AT __?LINE?__,
  LEVELS USER_RW, PTE_P | PTE_W, PF_P | PF_W | PF_U
  LEVELS PTE_P | PTE_W, USER_RW, PF_P | PF_W | PF_U
  LEVELS USER_RW, PTE_P | PTE_U, PF_P | PF_W | PF_U
  LEVELS PTE_P | PTE_U, USER_RW, PF_P | PF_W | PF_U
  LEVELS USER_RW, PTE_W | PTE_U, PF_W | PF_U
  LEVELS PTE_W | PTE_U, USER_RW, PF_W | PF_U
  ; Ring 0 and WP.
  ENTRIES USER_RW, PTE_P | PTE_U
  TRY
  mov [ebp], eax
  CATCH PF, PF_P | PF_W, kPage
  mov eax, cr0
  and eax, ~CR0_WP
  mov cr0, eax
  mov [ebp], eax
  or eax, CR0_WP
  mov cr0, eax
  ; A fetch is not told from a read here.
  ENTRIES USER_RW, 0
  TRY
  jmp ebp
  CATCH PF, 0, kPage
  ; PS without CR4.PSE is nothing: the entry points to a table. (The code here lies in 4 MiB pages: so not now.)
  ; A 4 MiB page's reserved bit 21.
  mov dword [pd + 256 * 4], (kScratch & ~0x3fffff) | USER_RW | PTE_PS | 1 << 21
  FLUSH
  TRY
  mov eax, [ebp]
  CATCH PF, PF_P | PF_RSVD, kPage

  ; PAE.
  mov eax, cr0
  btr eax, 31
  mov cr0, eax
  mov eax, cr4
  or eax, CR4_PAE
  mov cr4, eax
  xor ecx, ecx
.identity_pae:
  mov eax, ecx
  shl eax, 21
  or eax, USER_RW | PTE_PS
  mov [pd + ecx * 8], eax
  mov dword [pd + ecx * 8 + 4], 0
  inc ecx
  cmp ecx, 512
  jb .identity_pae
  mov dword [pdpte], pd + PTE_P
  mov dword [pdpte + 8], pd2 + PTE_P
  mov dword [pd2], pt + USER_RW
  mov dword [pt], kScratch + USER_RW
  mov dword [pt + 4], 0
  mov eax, pdpte
  mov cr3, eax
  mov ecx, MSR_EFER
  rdmsr
  or eax, 0x800                 ; NXE
  wrmsr
  mov eax, cr0
  bts eax, 31
  mov cr0, eax
  mov byte [ebp], 0xc3
  call ebp
  ; NX, and a fetch that is told now.
  mov dword [pt + 4], 1 << 31
  FLUSH
  mov eax, [ebp]
  TRY
  call ebp
  CATCH PF, PF_P | PF_I, kPage
  mov dword [pt], 0
  FLUSH
  TRY
  call ebp
  CATCH PF, PF_I, kPage
  ; A reserved bit (62..52) of an entry; of a 2 MiB page (bit 13).
  mov dword [pt], kScratch + USER_RW
  mov dword [pt + 4], 1 << 20
  FLUSH
  TRY
  mov [ebp], eax
  CATCH PF, PF_P | PF_W | PF_RSVD, kPage
  mov dword [pt + 4], 0
  mov dword [pd2], kScratch + USER_RW + PTE_PS + (1 << 13)
  FLUSH
  TRY
  mov eax, [ebp]
  CATCH PF, PF_P | PF_RSVD, kPage
  mov dword [pd2], pt + USER_RW
  ; Physical addresses above 4 GiB have no memory behind them here, but are no fault: bit 32.
  FLUSH
  ; PDPTEs: a reserved bit faults on the load of CR3, and CR3 stays.
  mov dword [pdpte + 24], PTE_P | PTE_W
  TRY
  mov eax, pdpte
  mov cr3, eax
  CATCH GP, 0
  mov dword [pdpte + 24], 0
  FLUSH
  ; Not present at the top: 3 GiB has none.
  TRY
  mov eax, [0xc0000000]
  CATCH PF, 0, 0xc0000000
  ; Back to where the report can be made.
  mov eax, cr0
  btr eax, 31
  mov cr0, eax
  ret

user_write:
  mov [ss:kPage], eax           ; DS is null
  ud2

section .bss
alignb 4096
pd: resb 4096
pd2: resb 4096
pt: resb 4096
pdpte: resb 32
