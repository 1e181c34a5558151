; cpuid_faults on a processor that has less: no XSAVE and AVX, no BMI, MOVBE, RDRAND, FSGSBASE.
; expect: pass
; options: --cpu x86-64-v2
; qemu: -cpu Nehalem
%include "cpuid_faults.inc"
