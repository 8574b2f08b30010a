// Errors on the wire: from a C++ exception to its record (dbos::Failure) and back.
//
// The same types come back on the first run and on every replay: whoever runs a step describes its exception,
// and throws what the description decodes to. Known are the types that a contract lists (made known by
// DBOS_ERROR), the classes of the standard library by their unqualified names (`runtime_error`), and, for
// steps, the library's own errors under their Python names.
#pragma once

#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "dbos/codec.hpp"
#include "dbos/error.hpp"
#include "dbos/export.hpp"
#include "dbos/value.hpp"

namespace dbos {

/// A known exception type without its type.
struct ErrorType {
    std::string_view name;
    /// Whether the exception is of this type or derived from it; if so, fills type_name, message, code and
    /// data.
    bool (*encode)(const std::exception& error, Failure& failure);
    /// Throws the type; returns if the data of the failure does not fit its fields.
    void (*raise)(const Failure& failure);
};

namespace detail {

/// Appends a member to the record's data. One named `code` is also the record's code, if it is an integer or a text.
DBOS_EXPORT void add_data(Failure& failure, const char* name, Value value);
/// The members of the record's data; none if it has no object there.
DBOS_EXPORT const Object& data_of(const Failure& failure);

template <class E>
struct EncodeErrorField {
    const E& error;
    Failure& failure;
    template <class C, class M>
    void operator()(const char* name, M C::* member) const {
        if constexpr (require_serializable<M>()) {
            add_data(failure, name, Codec<M>::encode(error.*member));
        }
    }
};

template <class E>
struct DecodeErrorField {
    E& error;
    const Object& data;
    const Path& path;
    template <class C, class M>
    void operator()(const char* name, M C::* member) const {
        DecodeFields<C>{error, data, path}(name, member);
    }
};

template <class E>
bool encode_error(const std::exception& exception, Failure& failure) {
    const E* error = dynamic_cast<const E*>(&exception);
    if (error == nullptr) return false;
    failure.type_name = std::string(dbos_error_name(Tag<E>()));
    failure.message = error->what();
    dbos_visit_error(Tag<E>(), EncodeErrorField<E>{*error, failure});
    return true;
}

template <class E>
E make_error(const std::string& message) {
    if constexpr (std::is_constructible_v<E, const std::string&>) {
        return E(message);
    } else {
        static_assert(
            std::is_default_constructible_v<E>,
            "dbos: a type of DBOS_ERROR must be constructible from std::string (its message) or by default");
        return E();
    }
}

template <class E>
void raise_error(const Failure& failure) {
    E error = make_error<E>(failure.message);
    try {
        const Path path("data");
        dbos_visit_error(Tag<E>(), DecodeErrorField<E>{error, data_of(failure), path});
    } catch (const DecodeError&) {
        return;
    }
    throw error;
}

}  // namespace detail

/// The known type of E, which needs DBOS_ERROR(E) beside it.
template <class E>
constexpr ErrorType error_type() {
    static_assert(std::is_base_of_v<std::exception, E>,
                  "dbos: an error of a contract must derive from std::exception");
    static_assert(detail::has_error_name<E>,
                  "dbos: this error type is not known; add DBOS_ERROR(Type, fields...) beside it");
    if constexpr (detail::has_error_name<E>) {
        return {dbos_error_name(Tag<E>()), &detail::encode_error<E>, &detail::raise_error<E>};
    } else {
        return {};
    }
}

/// The record of an exception: by `known` first, then the standard and the library's own classes, else its
/// unqualified type name. A StepFailed or WorkflowFailed gives the failure that it carries. An Interrupt has
/// no record: it is thrown on.
DBOS_EXPORT Failure describe(const std::exception_ptr& error, std::span<const ErrorType> known = {});

/// Throws what the record of a step decodes to: a type of `known`, of the standard library, of this library,
/// else StepFailed.
[[noreturn]] DBOS_EXPORT void raise_step(const Failure& failure, std::span<const ErrorType> known,
                                         const std::string& workflow_id, const std::string& step_name);

/// Throws what the error of a workflow decodes to: a type of `known`, of the standard library, else
/// WorkflowFailed. (The library's own errors thrown by a result call are always about that call, never about
/// what the workflow met.)
[[noreturn]] DBOS_EXPORT void raise_workflow(const Failure& failure, std::span<const ErrorType> known,
                                             const std::string& workflow_id);

}  // namespace dbos
