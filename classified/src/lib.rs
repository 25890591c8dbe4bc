//! Derives `builder::error::Cause`: the error inside an error that provides the class and advice if the outer one
//! states none.
//!
//! No attribute tells which field that is. The generated code checks each field of a variant and uses the first one
//! that is a classified error, so a variant cannot forget to forward.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, parse_macro_input};

/// Implements `Cause` for an enum or struct of the builder.
#[proc_macro_derive(Cause)]
pub fn derive_cause(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let name = &input.ident;
    let arms: Vec<_> = match &input.data {
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| {
                let variant_name = &variant.ident;
                arm(&quote!(Self::#variant_name), &variant.fields)
            })
            .collect(),
        Data::Struct(data) => vec![arm(&quote!(Self), &data.fields)],
        Data::Union(_) => {
            return Error::new_spanned(name, "a union is not an error").into_compile_error().into();
        }
    };
    quote! {
        #[automatically_derived]
        impl crate::error::Cause for #name {
            fn classified_cause(&self) -> ::core::option::Option<&dyn crate::error::Classified> {
                #[allow(unused_imports, reason = "needed only where a field is not a classified error")]
                use crate::error::NotClassified as _;
                match self { #(#arms)* }
            }
        }
    }
    .into()
}

/// The match arm for one variant: its fields are checked in order.
fn arm(path: &proc_macro2::TokenStream, fields: &Fields) -> proc_macro2::TokenStream {
    let bindings: Vec<_> = (0..fields.len()).map(|number| format_ident!("field_{number}")).collect();
    let members = fields.members();
    quote! {
        #path { #(#members: #bindings),* } =>
            ::core::option::Option::None #(.or_else(|| crate::error::Field(#bindings).classified()))*,
    }
}
