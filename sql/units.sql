-- Amounts as shops write them, and as payguard keeps them.
SELECT payguard.minor_units(26.03, 'EUR'), payguard.minor_units(26.0300, 'EUR'), payguard.minor_units(26, 'EUR'), payguard.minor_units(0, 'EUR'),
  payguard.minor_units(-0.5, 'USD');
SELECT payguard.minor_units(1500, 'JPY'), payguard.minor_units(1.234, 'KWD'), payguard.minor_units(0.0001, 'CLF'), payguard.minor_units(1500.000, 'KRW');
SELECT payguard.major_units(2603, 'EUR'), payguard.major_units(5, 'USD'), payguard.major_units(1500, 'JPY'), payguard.major_units(1234, 'KWD'), payguard.major_units(-1, 'UYW');
SELECT payguard.minor_units(26.035, 'EUR'); -- fails
SELECT payguard.minor_units(0.5, 'JPY'); -- fails
SELECT payguard.minor_units('NaN', 'EUR'); -- fails
SELECT payguard.minor_units('Infinity', 'EUR'); -- fails
SELECT payguard.minor_units(1, 'XAU'); -- fails
SELECT payguard.minor_units(1, 'eur'), payguard.major_units(100, 'Eur');
SELECT payguard.minor_units(1, 'EU1'); -- fails
SELECT payguard.minor_units(1, 'R E'); -- fails
SELECT payguard.major_units(1, 'ABC'); -- fails
\set VERBOSITY sqlstate
SELECT payguard.minor_units(92233720368547758.08, 'EUR'); -- fails
SELECT payguard.minor_units(1e300, 'EUR'); -- fails
\set VERBOSITY default
SELECT payguard.minor_units(92233720368547758.07, 'EUR') = 9223372036854775807;
SELECT payguard.minor_units(NULL, 'EUR') IS NULL, payguard.minor_units(1, NULL) IS NULL, payguard.major_units(NULL, 'EUR') IS NULL;
-- there and back
SELECT count(*) FROM unnest('{EUR,JPY,KWD,CLF}'::text[]) c, generate_series(-1000, 1000, 7) n
WHERE payguard.minor_units(payguard.major_units(n, c), c) <> n;
-- what a shop does: its total is numeric, and a cast of it would charge 26 cents
SELECT amount, payguard.major_units(amount, currency) AS total FROM payguard.create_order('un-1', payguard.minor_units(26.03, 'EUR'), 'EUR');
