// What the sanitizers do by default in the simulator.
// NOLINTBEGIN(readability-identifier-naming): names that the sanitizers look for

// Frozen stacks keep what they had.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0:detect_stack_use_after_return=0"; }

// A world with a race is a failed world; its child ends at once. SQLite is not instrumented: what it copies about is not looked
// at.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "halt_on_error=1:report_signal_unsafe=0"; }
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() { return "called_from_lib:libsqlite3.so\n"; }
// NOLINTEND(readability-identifier-naming)
