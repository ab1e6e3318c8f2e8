//! Bundles that are no bundles: the honest bytes with one deviation in their form, each of which the reader must refuse.
//!
//! Found by walking the honest encoding from its start, so that each edit hits the item it names. Spec: bundle.md §1.

use candor_verify::bundle::Bundle;
use candor_verify::cbor::Writer;
use candor_verify::proof::Proof;

/// A deviation and the bytes that have it.
pub type Malformed = (&'static str, Vec<u8>);

/// Every deviation.
///
/// # Panics
/// If the honest bundle does not begin as it should.
#[must_use]
pub fn all(honest: &Bundle) -> Vec<Malformed> {
    let bytes = honest.encode();
    assert_eq!(bytes[..2], [0x87, 0x02], "seven members, version 2");
    let edit = |at: usize, remove: usize, insert: &[u8]| [&bytes[..at], insert, &bytes[at + remove..]].concat();
    let salt = find(&bytes, &honest.request.salt.0);
    let method = salt + 32;
    assert_eq!(bytes[method], 0x64, "a text of four");
    let path = method + 5;
    assert_eq!(bytes[path..path + 2], [0x74, b'/'], "a text of twenty");
    vec![
        ("malformed_empty", Vec::new()),
        ("malformed_trailing_byte", [bytes.as_slice(), &[0]].concat()),
        ("malformed_cut_before_the_last_byte", bytes[..bytes.len() - 1].to_vec()),
        ("malformed_two_bundles", [bytes.as_slice(), &bytes].concat()),
        ("malformed_version_of_before_the_first_release", edit(1, 1, &[0x01])),
        ("malformed_unknown_version", edit(1, 1, &[0x03])),
        ("malformed_version_not_shortest", edit(1, 1, &[0x18, 0x02])),
        ("malformed_array_length_not_shortest", edit(0, 1, &[0x98, 0x07])),
        ("malformed_indefinite_array", [&[0x9f], &bytes[1..], &[0xff]].concat()),
        ("malformed_one_member_more", [&[0x88], &bytes[1..], &[0]].concat()),
        ("malformed_map_for_array", edit(0, 1, &[0xa3])),
        ("malformed_tagged", [&[0xd9, 0xd9, 0xf7], bytes.as_slice()].concat()),
        ("malformed_salt_of_31_bytes", edit(salt - 2, 3, &[0x58, 0x1f])),
        ("malformed_method_as_bytes", edit(method, 1, &[0x44])),
        ("malformed_method_not_utf8", edit(method + 1, 1, &[0xff])),
        ("malformed_path_length_not_shortest", edit(path, 1, &[0x78, 0x14])),
        ("malformed_indefinite_text", [&bytes[..path], &[0x7f], &bytes[path..path + 21], &[0xff], &bytes[path + 21..]].concat()),
        ("malformed_later_trees_null", edit(bytes.len() - 1, 1, &[0xf6])),
        ("malformed_three_later_trees", later_trees(&bytes, &[8, 9, 10])),
        ("malformed_later_trees_of_one_size", later_trees(&bytes, &[8, 8])),
        ("malformed_payment_of_an_unknown_scheme", edit(payment_scheme(&bytes, honest), 1, &[0x05])),
        ("malformed_unknown_seed_source", edit(find(&bytes, &honest.delivery.decoding.seed.0) + 32, 1, &[0x04])),
        ("malformed_receipt_code", in_delivery(honest, |receipt| receipt[5 * 32 + 31] = 9)),
        ("malformed_receipt_high_bytes_in_an_address", in_delivery(honest, |receipt| receipt[6 * 32] = 1)),
        ("malformed_receipt_amount_above_2_128", in_delivery(honest, |receipt| receipt[12 * 32 + 15] = 1)),
        ("malformed_proof_in_its_place", Proof::of(honest).encode()),
    ]
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle).expect("the honest bundle has it")
}

fn later_trees(bytes: &[u8], sizes: &[u64]) -> Vec<u8> {
    let mut links = Writer::new();
    links.array(sizes.len());
    for size in sizes {
        links.array(5).u64(*size).bytes(&[1; 32]).u64(9).bytes(&[2; 65]).array(0);
    }
    [&bytes[..bytes.len() - 1], &links.into_vec()].concat()
}

/// Where the scheme of the payment stands: before the payer, who is a byte string of twenty.
fn payment_scheme(bytes: &[u8], honest: &Bundle) -> usize {
    let payer = &honest.sale.as_ref().expect("it is sold").payment.authorization.from;
    let at = find(bytes, &payer.0) - 2;
    assert_eq!(bytes[at..at + 2], [0x01, 0x54], "scheme 1 and a string of twenty");
    at
}

/// Changes the receipt's words inside the delivery, keeping every length.
fn in_delivery(honest: &Bundle, change: fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = honest.encode();
    let words = honest.delivery.receipt.encode();
    let at = find(&bytes, &words);
    change(&mut bytes[at..at + words.len()]);
    bytes
}
