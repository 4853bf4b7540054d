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

	.globl _IO_getc
	.set _IO_getc, getc
	.type _IO_getc, @function

	.globl __vfork
	.set __vfork, vfork
	.type __vfork, @function

/* ---- blockers.inc ---- */

/* Where each function is in struct libc, which interposed.inc makes, too. */
	.set position, 0
#define INTERPOSED(returns, name, parameters) .set at_##name, position; .set position, position + 8;
#include "shim/interposed.inc"
#undef INTERPOSED

/* Every process has them, so they are small: in %eax, which passes no argument to these, is where
 * the function is, and above that the register with the time until which it waits; 0 for none, or 7
 * of a SPINNER. */
	.hidden blockers_before
	.hidden deferral_count
	.hidden libc_functions
	.hidden libc_is_loaded
	.cfi_startproc
#define TIMED(returns, name, parameters, until)                                                    \
	.globl name; .type name, @function; name: endbr64;                                         \
	movl $(at_##name + (until << 16)), %eax; jmp blocker; .size name, . - name;
#define BLOCKER(returns, name, parameters) TIMED(returns, name, parameters, 0)
#define SPINNER(returns, name, parameters) TIMED(returns, name, parameters, 7)
#include "shim/blockers.inc"
#undef BLOCKER
blocker:
	cmpl $0, deferral_count(%rip)
	jne 1f
	cmpb $0, libc_is_loaded(%rip)
	je 1f
	leaq libc_functions(%rip), %r11
	movzwl %ax, %eax
	jmp *(%r11, %rax)
1:
	.irp register, r9, r8, rcx, rdx, rsi, rdi, rax
	pushq %\register
	.cfi_adjust_cfa_offset 8
	.endr
	movq %rsp, %rdi
	call blockers_before
	movq %rax, %r11
	.irp register, rax, rdi, rsi, rdx, rcx, r8, r9
	popq %\register
	.cfi_adjust_cfa_offset -8
	.endr
	jmp *%r11
	.cfi_endproc

	.section .note.GNU-stack, "", @progbits
