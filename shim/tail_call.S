/* Wrappers that jump on: tail_call.h. */

/* System V ABI for x86-64, section 3.2: six registers for arguments, %al for the number of vector
 * registers that a variadic function may look at; the hook must find the stack aligned to 16, which
 * it is by seven registers and the return address. */
.macro TAIL_CALL name, hook
	.globl \name
	.type \name, @function
	.hidden \hook
\name:
	.cfi_startproc
	endbr64
	.irp register, r9, r8, rcx, rdx, rsi, rdi, rax
	pushq %\register
	.cfi_adjust_cfa_offset 8
	.endr
	leaq 8(%rsp), %rdi
	call \hook
	movq %rax, %r11
	.irp register, rax, rdi, rsi, rdx, rcx, r8, r9
	popq %\register
	.cfi_adjust_cfa_offset -8
	.endr
	jmp *%r11
	.cfi_endproc
	.size \name, . - \name
.endm

	.text
	TAIL_CALL vfork, before_vfork
	TAIL_CALL execl, before_execl
	TAIL_CALL execlp, before_execlp
	TAIL_CALL execle, before_execle
	TAIL_CALL syscall, before_syscall
	TAIL_CALL dlopen, before_dlopen
	TAIL_CALL dlmopen, before_dlmopen

	.globl __vfork
	.set __vfork, vfork
	.type __vfork, @function

	.section .note.GNU-stack, "", @progbits
