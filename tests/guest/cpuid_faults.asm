; CPUID and what follows from it: the upper halves it clears, the leaf beyond the last one on an Intel processor, that it
; faults nowhere; and the promise behind each feature bit: what CPUID denies faults (#UD for instructions, #GP for bits of
; control registers and MSRs), what it announces does not. SDM vol. 2A CPUID, vol. 3A §2.5, vol. 4.
; expect: pass
%include "cpuid_faults.inc"
