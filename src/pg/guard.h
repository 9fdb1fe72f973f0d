// Where C++ and PostgreSQL's errors meet, in both directions (docs/design.md, "Errors between
// C++ and PostgreSQL").
//
//   Call(lambda)   runs PostgreSQL code that may ereport(ERROR); a longjmp becomes a pg::Error.
//                  The lambda holds trivially destructible locals only and throws nothing.
//   Entry(lambda)  is the body of an extern "C" function that PostgreSQL calls; an exception
//                  becomes ereport(ERROR), raised after the catch block has been left.
//
// Any process. PG_TRY and sigsetjmp appear in no other file.
#ifndef ALERTING_PG_GUARD_H_
#define ALERTING_PG_GUARD_H_

#include <exception>
#include <new>
#include <type_traits>
#include <utility>

#include "pg/pg_headers.h"

namespace alerting::pg {

// A PostgreSQL error on its way through C++ frames. Owns the ErrorData, which lies in a memory
// context of its own.
class Error final : public std::exception {
 public:
  explicit Error(ErrorData* data) noexcept : data_(data) {}
  Error(Error&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Error(const Error&) = delete;
  Error& operator=(const Error&) = delete;
  ~Error() override {
    if (data_ != nullptr) MemoryContextDelete(GetMemoryChunkContext(data_));
  }

  const char* what() const noexcept override {
    return data_ != nullptr && data_->message != nullptr ? data_->message : "unknown error";
  }
  int sqlstate() const noexcept { return data_ != nullptr ? data_->sqlerrcode : 0; }
  // Trouble of the moment and not of what was done: somebody's lock, a deadlock, lack of memory or
  // of room on a disk, a shutdown. The same will do later.
  bool IsPassing() const noexcept {
    switch (ERRCODE_TO_CATEGORY(sqlstate())) {
      case MAKE_SQLSTATE('4', '0', '0', '0', '0'):
      case MAKE_SQLSTATE('5', '7', '0', '0', '0'):
        return true;
      default:
        return sqlstate() == ERRCODE_LOCK_NOT_AVAILABLE || IsForLackOfRoom();
    }
  }
  bool IsForLackOfRoom() const noexcept {
    return ERRCODE_TO_CATEGORY(sqlstate()) == ERRCODE_INSUFFICIENT_RESOURCES;
  }
  const ErrorData* data() const noexcept { return data_; }
  // For the boundary back into PostgreSQL: the caller owns the ErrorData and its context from now
  // on.
  ErrorData* Release() noexcept { return std::exchange(data_, nullptr); }

 private:
  ErrorData* data_;
};

namespace internal {

struct ErrorState {
  sigjmp_buf* exception_stack = PG_exception_stack;
  ErrorContextCallback* context_stack = error_context_stack;
  MemoryContext memory_context = CurrentMemoryContext;
  // Under the setting exit_on_error an error ends the session where it is raised. Inside a Call it
  // may be one that is handled; Entry raises what is not.
  bool exit_on_error = std::exchange(ExitOnAnyError, false);

  void Restore() const {
    PG_exception_stack = exception_stack;
    error_context_stack = context_stack;
    if (exit_on_error) ExitOnAnyError = true;
  }
};

// Leaves the error subsystem clean and returns a copy that outlives the current transaction.
inline ErrorData* TakeError(const ErrorState& state) {
  state.Restore();
  MemoryContextSwitchTo(
      AllocSetContextCreate(TopMemoryContext, "alerting error", ALLOCSET_SMALL_SIZES));
  ErrorData* data = CopyErrorData();
  FlushErrorState();
  MemoryContextSwitchTo(state.memory_context);
  return data;
}

}  // namespace internal

template <typename F>
auto Call(F&& function) -> std::invoke_result_t<F> {
  using Result = std::invoke_result_t<F>;
  const internal::ErrorState state;
  sigjmp_buf buffer;
  if (sigsetjmp(buffer, 0) == 0) {
    PG_exception_stack = &buffer;
    if constexpr (std::is_void_v<Result>) {
      function();
      state.Restore();
      return;
    } else {
      static_assert(std::is_trivially_copyable_v<Result>,
                    "a result that crosses a longjmp boundary must be trivially copyable");
      Result result = function();
      state.Restore();
      return result;
    }
  }
  throw Error(internal::TakeError(state));
}

// Raises the given error as PostgreSQL raises it; to be thrown by C++ code below an Entry.
// Usage: pg::Throw([&] { ereport(ERROR, ...); });
template <typename F>
[[noreturn]] void Throw(F&& raise) {
  Call([&] { raise(); });
  std::terminate();  // raise() must not return
}

// Runs PostgreSQL code and then `after(0, argument)`, also when the code raised an error or ended
// the process; for hooks that are plain PostgreSQL code themselves.
template <typename F>
void CallThenFinally(const F& function, pg_on_exit_callback after, Datum argument) {
  PG_ENSURE_ERROR_CLEANUP(after, argument);
  { function(); }
  PG_END_ENSURE_ERROR_CLEANUP(after, argument);
  after(0, argument);
}

template <typename F>
auto Entry(F&& function) -> std::invoke_result_t<F> {
  ErrorData* postgres_error = nullptr;
  bool out_of_memory = false;
  char message[256];  // written only when it is needed: this runs for every row of a row trigger
  try {
    return function();
  } catch (Error& error) {
    postgres_error = error.Release();
  } catch (const std::bad_alloc&) {
    out_of_memory = true;
  } catch (const std::exception& error) {
    strlcpy(message, error.what(), sizeof(message));
  } catch (...) {
    strlcpy(message, "unknown exception", sizeof(message));
  }
  if (postgres_error != nullptr) {
    // Raised is a copy. This one goes with it, once somebody has handled that: a session that lives
    // long may see many.
    MemoryContextSetParent(GetMemoryChunkContext(postgres_error), ErrorContext);
    if (ExitOnAnyError) {
      // Unlike the other one, this asks whether the session is to end.
      error_context_stack = nullptr;  // has been asked
      ThrowErrorData(postgres_error);
    }
    ReThrowError(postgres_error);
  }
  if (out_of_memory) {
    ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("alerting: out of memory")));
  }
  ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("alerting: %s", message)));
  pg_unreachable();
}

}  // namespace alerting::pg

#endif  // ALERTING_PG_GUARD_H_
