/* SPDX-License-Identifier: GPL-2.0-only */
/* Handlers of the integer instructions, by the names that optable_int.h uses. */
#ifndef KVM_X86_HANDLERS_INT_H
#define KVM_X86_HANDLERS_INT_H

#include "kvm/x86/handler.h"

#define D(name)	X86_DECLARE_HANDLER(name)

/* alu.c */
#define D3(name) D(name##_er) D(name##_re) D(name##_ei)
D3(add) D3(or) D3(adc) D3(sbb) D3(and) D3(sub) D3(xor) D3(cmp)
#undef D3
D(test_er) D(test_ei) D(inc_e) D(dec_e) D(neg_e) D(not_e) D(adcx) D(adox)

/* shift.c */
#define D3(name) D(name##_ei) D(name##_e1) D(name##_ec)
D3(rol) D3(ror) D3(rcl) D3(rcr) D3(shl) D3(shr) D3(sar)
#undef D3
D(shld_i) D(shld_c) D(shrd_i) D(shrd_c)

/* muldiv.c */
D(mul_e) D(imul_e) D(imul_ge) D(imul_gei) D(div_e) D(idiv_e)
D(daa) D(das) D(aaa) D(aas) D(aam) D(aad)

/* mov.c */
D(mov_er) D(mov_re) D(mov_ei) D(mov_ao) D(mov_oa)
D(movzx_b) D(movzx_w) D(movsx_b) D(movsx_w) D(movsxd)
D(movbe_load) D(movbe_store) D(bswap) D(lea) D(xlat) D(cbw) D(cwd) D(rdpid)

/* xchg.c */
D(xchg) D(xadd) D(cmpxchg) D(cmpxchg8b)

/* stack.c */
D(push_e) D(push_i) D(pop_e) D(pusha) D(popa) D(enter) D(leave)

/* flags.c, branch.c */
D(clc) D(stc) D(cmc) D(cld) D(std) D(lahf) D(sahf) D(salc)
#define D_CONDITION(name, cc) D(set##name) D(cmov##name) D(j##name)
X86_FOR_CONDITIONS(D_CONDITION)
#undef D_CONDITION
D(jmp_j) D(jmp_e) D(call_j) D(call_e) D(ret) D(jcxz) D(loop) D(loope) D(loopne) D(bound)

/* bits.c */
D(bt_er) D(bt_ei) D(bts_er) D(bts_ei) D(btr_er) D(btr_ei) D(btc_er) D(btc_ei)
D(bsf) D(bsr) D(tzcnt) D(lzcnt) D(popcnt) D(crc32)
D(andn) D(bextr) D(bzhi) D(blsi) D(blsmsk) D(blsr)
D(pdep) D(pext) D(sarx) D(shlx) D(shrx) D(rorx) D(mulx)

/* string.c */
D(movs) D(stos) D(lods) D(cmps) D(scas)

/* nop.c */
D(nop) D(pause) D(fence) D(clflush) D(ud) D(random)

#undef D

#endif
