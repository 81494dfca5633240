/*
 * thread_safety.h: annotations that say which lock guards what, as Clang's -Wthread-safety checks them. Any
 * other compiler sees nothing.
 *
 * FL_GUARDED_BY says which lock a variable or a field needs. Clang up to 19 cannot name a sibling field in C,
 * so the lock of such a field is a global. FL_REQUIRES, FL_ACQUIRE and FL_RELEASE say which locks a function
 * needs, takes or drops. FL_ASSERT_CAPABILITY marks a check at run time, after which the analysis takes the
 * lock as held. FL_NO_THREAD_SAFETY_ANALYSIS takes a function out of it; the reason stands beside it.
 *
 * (clang.llvm.org/docs/ThreadSafetyAnalysis.html)
 */
#ifndef FAULTLINE_THREAD_SAFETY_H
#define FAULTLINE_THREAD_SAFETY_H

#if defined(__clang__)
#define FL_CAPABILITY(x)             __attribute__((capability(x)))
#define FL_GUARDED_BY(x)             __attribute__((guarded_by(x)))
#define FL_PT_GUARDED_BY(x)          __attribute__((pt_guarded_by(x)))
#define FL_REQUIRES(...)             __attribute__((requires_capability(__VA_ARGS__)))
#define FL_REQUIRES_SHARED(...)      __attribute__((requires_shared_capability(__VA_ARGS__)))
#define FL_ACQUIRE(...)              __attribute__((acquire_capability(__VA_ARGS__)))
#define FL_ACQUIRE_SHARED(...)       __attribute__((acquire_shared_capability(__VA_ARGS__)))
#define FL_RELEASE(...)              __attribute__((release_capability(__VA_ARGS__)))
#define FL_RELEASE_SHARED(...)       __attribute__((release_shared_capability(__VA_ARGS__)))
#define FL_TRY_ACQUIRE(...)          __attribute__((try_acquire_capability(__VA_ARGS__)))
#define FL_TRY_ACQUIRE_SHARED(...)   __attribute__((try_acquire_shared_capability(__VA_ARGS__)))
#define FL_EXCLUDES(...)             __attribute__((locks_excluded(__VA_ARGS__)))
#define FL_ASSERT_CAPABILITY(x)      __attribute__((assert_capability(x)))
#define FL_NO_THREAD_SAFETY_ANALYSIS __attribute__((no_thread_safety_analysis))
#else
#define FL_CAPABILITY(x)
#define FL_GUARDED_BY(x)
#define FL_PT_GUARDED_BY(x)
#define FL_REQUIRES(...)
#define FL_REQUIRES_SHARED(...)
#define FL_ACQUIRE(...)
#define FL_ACQUIRE_SHARED(...)
#define FL_RELEASE(...)
#define FL_RELEASE_SHARED(...)
#define FL_TRY_ACQUIRE(...)
#define FL_TRY_ACQUIRE_SHARED(...)
#define FL_EXCLUDES(...)
#define FL_ASSERT_CAPABILITY(x)
#define FL_NO_THREAD_SAFETY_ANALYSIS
#endif

#endif
