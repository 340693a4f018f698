/*    Licensed under the Apache License, Version 2.0 (the "License"); you may
 *    not use this file except in compliance with the License. You may obtain
 *    a copy of the License at
 *
 *         http://www.apache.org/licenses/LICENSE-2.0
 *
 *    Unless required by applicable law or agreed to in writing, software
 *    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 *    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 *    License for the specific language governing permissions and limitations
 *    under the License.
 *
 * Preloaded into User Mode Linux, which has room for the registers of CPUs up
 * to AVX-512. The machine's kernel wants those of a process to be set as a
 * whole: on a CPU with more, AMX say, no process of a lab host would start.
 * Whatever is past that room goes back to how a process begins.
 */

#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define LARGEST 65536
#define HEADER 512              /* where the header of an XSAVE area begins */
#define BEFORE_AMX 0x1ffffu     /* components that no room is lacking for */

static long (*real)(enum __ptrace_request, ...);
static size_t whole;            /* bytes of this machine's XSAVE area */
static char area[LARGEST] __attribute__((aligned(64)));

__attribute__((constructor)) static void prepare(void)
{
	unsigned int a, b = 0, c, d;

	real = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
	if (__get_cpuid_count(0xd, 0, &a, &b, &c, &d))
		whole = b;
}

static long set_all(pid_t pid, void *what, const struct iovec *given)
{
	struct iovec all = { area, whole };
	uint64_t components;

	memset(area, 0, whole);
	memcpy(area, given->iov_base, given->iov_len);
	memcpy(&components, area + HEADER, sizeof(components));
	components &= BEFORE_AMX;
	memcpy(area + HEADER, &components, sizeof(components));
	return real(PTRACE_SETREGSET, pid, what, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list list;
	pid_t pid;
	void *address, *data;

	va_start(list, request);
	pid = va_arg(list, pid_t);
	address = va_arg(list, void *);
	data = va_arg(list, void *);
	va_end(list);
	if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE &&
	    ((struct iovec *)data)->iov_len < whole && whole <= LARGEST)
		return set_all(pid, address, data);
	return real(request, pid, address, data);
}
