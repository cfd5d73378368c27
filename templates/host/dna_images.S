/* Puts program.bin and dna_probe.bin into the executable; assemble with -I for the folders they are in. */
    .section .rodata
    .global dna_program_image
    .global dna_program_image_end
    .global dna_probe_image
    .global dna_probe_image_end
    .balign 16
dna_program_image:
    .incbin "program.bin"
dna_program_image_end:
    .balign 16
dna_probe_image:
    .incbin "dna_probe.bin"
dna_probe_image_end:

#if defined(__linux__) && defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
