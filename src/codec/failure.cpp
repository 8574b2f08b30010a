#include "dbos/failure.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <typeinfo>

#include "codec/known_errors.hpp"

namespace dbos {

namespace detail {
void add_data(Failure& failure, const char* name, Value value) {
    const bool text_or_number = value.kind() == Kind::integer || value.kind() == Kind::string;
    if (text_or_number && std::string_view(name) == "code") failure.code = value;
    if (failure.data.kind() != Kind::object) failure.data = Object();
    failure.data.as_object().emplace_back(name, std::move(value));
}

const Object& data_of(const Failure& failure) {
    static const Object none;
    return failure.data.kind() == Kind::object ? failure.data.as_object() : none;
}
}  // namespace detail

namespace {

std::string demangle(const std::type_info& type) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> text(
        abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), std::free);
    std::string name = status == 0 && text != nullptr ? text.get() : type.name();
    // What std::throw_with_nested makes of X.
    constexpr std::string_view nested = "std::_Nested_exception<";
    if (name.starts_with(nested) && name.ends_with('>'))
        name = name.substr(nested.size(), name.size() - nested.size() - 1);
    return name;
}

// Without name spaces and enclosing classes or functions; template arguments stay.
std::string unqualified_name(const std::string& qualified) {
    int depth = 0;
    for (std::size_t i = qualified.size(); i > 1; --i) {
        const char c = qualified[i - 1];
        if (c == '>' || c == ')') ++depth;
        if (c == '<' || c == '(') --depth;
        if (depth == 0 && c == ':') return qualified.substr(i);
    }
    return qualified;
}

Failure describe_exception(const std::exception& error, std::span<const ErrorType> known) {
    if (const auto* recorded = dynamic_cast<const RecordedError*>(&error)) {
        Failure failure = recorded->failure();
        failure.raw.clear();
        failure.format.clear();
        return failure;
    }
    const std::string qualified = demangle(typeid(error));
    const std::string name = unqualified_name(qualified);
    std::optional<Failure> best;
    for (const ErrorType& type : known) {
        Failure failure;
        // A derived type takes its base's place on the list, unless it is listed itself.
        if ((best && type.name != name) || !type.encode(error, failure)) continue;
        best = std::move(failure);
    }
    if (best) return std::move(*best);
    Failure failure;
    if (describe_own(error, failure) || describe_standard(error, qualified, failure)) return failure;
    failure.type_name = name;
    failure.message = error.what();
    return failure;
}

Failure describe_foreign(std::string message) {
    Failure failure;
    const std::type_info* type = abi::__cxa_current_exception_type();
    failure.type_name = type != nullptr ? unqualified_name(demangle(*type)) : "unknown";
    failure.message = std::move(message);
    return failure;
}

void raise_known(const Failure& failure, std::span<const ErrorType> known) {
    for (const ErrorType& type : known) {
        if (type.name == failure.type_name) type.raise(failure);
    }
    raise_standard(failure);
}

}  // namespace

Failure describe(const std::exception_ptr& error, std::span<const ErrorType> known) {
    try {
        std::rethrow_exception(error);
    } catch (const Interrupt&) {
        throw;
    } catch (const std::exception& exception) {
        return describe_exception(exception, known);
    } catch (const std::string& text) {
        return describe_foreign(text);
    } catch (const char* text) {
        return describe_foreign(text != nullptr ? text : "");
    } catch (...) {
        return describe_foreign("an exception that does not derive from std::exception");
    }
}

void raise_step(const Failure& failure, std::span<const ErrorType> known, const std::string& workflow_id,
                const std::string& step_name) {
    raise_known(failure, known);
    raise_own(failure, workflow_id);
    throw StepFailed(workflow_id, step_name, failure);
}

void raise_workflow(const Failure& failure, std::span<const ErrorType> known,
                    const std::string& workflow_id) {
    raise_known(failure, known);
    throw WorkflowFailed(workflow_id, failure);
}

}  // namespace dbos
